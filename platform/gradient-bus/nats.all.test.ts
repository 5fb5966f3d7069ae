import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../domain/limits.js";
import { exerciseGradientBus } from "../../test/conformance/gradient-bus.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { NatsServer, type NatsServerOptions } from "../../test/support/nats-server.js";
import { PausingProxy } from "../../test/support/pausing-proxy.js";
import type { GradientBus } from "./gradient-bus.js";
import { natsGradientBus, type NatsGradientBus, type NatsOptions } from "./nats.js";

const found = goProgram("nats-server") !== undefined;

describe.skipIf(!found)(`the gradient bus on NATS${found ? "" : `, ${withoutProgram("nats-server")}`}`, () => {
  let shared: NatsServer;
  beforeAll(async () => {
    shared = await NatsServer.start();
  });
  afterAll(() => shared.stop());

  const cleanUps: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  });

  async function startServer(options: NatsServerOptions = {}): Promise<NatsServer> {
    const server = await NatsServer.start(options);
    cleanUps.push(() => server.stop());
    return server;
  }

  async function openBus(server: { url: string }, options: Partial<NatsOptions> = {}): Promise<NatsGradientBus> {
    const bus = await natsGradientBus({
      servers: [server.url],
      name: "test",
      onError: (error) => expect.unreachable(String(error)),
      ...options,
    });
    cleanUps.push(() => bus.close());
    return bus;
  }

  exerciseGradientBus("nats, one connection", (onError) => openBus(shared, { onError }));
  exerciseGradientBus("nats, from one connection to another", async (onError) =>
    joined(await openBus(shared, { onError }), await openBus(shared, { onError })),
  );

  test("the server sends nothing back to its publisher, who hears it all the same", async () => {
    const server = await startServer();
    const [a, b] = [await openBus(server), await openBus(server)];
    const [heardByA, heardByB] = [nextMessage(a, "all"), nextMessage(b, "all")];
    await subscribed(b, a);
    const before = await server.counters();
    a.publish("all", new Uint8Array(1_000));
    expect((await heardByA).length).toBe(1_000);
    expect((await heardByB).length).toBe(1_000);
    expect((await server.counters()).outBytes - before.outBytes).toBe(1_000);
  });

  test("no server: BUS_UNAVAILABLE with its address", async () => {
    const server = await startServer();
    await server.kill("SIGKILL");
    await expect(openBus(server)).rejects.toMatchObject({
      code: "BUS_UNAVAILABLE",
      message: expect.stringContaining(server.url) as string,
    });
  });

  test("wrong or no credentials: ACCESS_DENIED, and the right ones do", async () => {
    const server = await startServer({ users: [{ user: "trainer", password: "right" }] });
    for (const [credentials, who] of [
      [{ user: "trainer", password: "wrong" }, 'user "trainer"'],
      [{ token: "right" }, "the token"],
      [undefined, "without credentials"],
    ] as const) {
      const opening = openBus(server, credentials === undefined ? {} : { credentials });
      await expect(opening).rejects.toMatchObject({ code: "ACCESS_DENIED", message: expect.stringContaining(who) as string });
      await expect(opening).rejects.not.toMatchObject({ message: expect.stringMatching(/right|wrong/u) as string });
    }
    const bus = await openBus(server, { credentials: { user: "trainer", password: "right" } });
    expect(bus.connected).toBe(true);
  });

  test("a server for smaller messages: CONFIG_INVALID says what to set", async () => {
    const server = await startServer({ maxPayloadBytes: limits.exchangeMessageBytes - 1 });
    await expect(openBus(server)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(new RegExp(`${limits.exchangeMessageBytes - 1}.*max_payload`, "u")) as string,
    });
  });

  test("permissions as docs/operations.md shows them: a trainer's subjects work, others are refused and named", async () => {
    const exchange = ["graft.exchange.>"];
    const server = await startServer({ users: [{ user: "trainer", password: "secret", publish: exchange, subscribe: exchange }] });
    const errors: unknown[] = [];
    let told: () => void = () => undefined;
    const onError = (error: unknown): void => {
      errors.push(error);
      told();
    };
    const credentials = { user: "trainer", password: "secret" };
    const [a, b] = [await openBus(server, { credentials, onError }), await openBus(server, { credentials, onError })];
    const heard = nextMessage(b, "graft.exchange.job.0.1");
    await subscribed(b, a, "graft.exchange.job.0.9");
    a.publish("graft.exchange.job.0.1", Uint8Array.of(1));
    expect([...(await heard)]).toEqual([1]);
    a.subscribe("graft.other", () => undefined);
    a.publish("graft.foreign", Uint8Array.of(1));
    while (errors.length < 2) await new Promise<void>((resolve) => (told = resolve));
    expect(errors).toMatchObject([
      { code: "ACCESS_DENIED", message: expect.stringContaining("subscribe to graft.other") as string },
      { code: "ACCESS_DENIED", message: expect.stringContaining("publish to graft.foreign") as string },
    ]);
    expect(a.connected).toBe(true);
  });

  test("a server that is killed and comes back: the connection is opened anew and subscriptions hold", async () => {
    const server = await startServer();
    const seen = connectionEvents();
    const [a, b] = [await openBus(server), await openBus(server, seen)];
    await server.kill("SIGKILL");
    await seen.next(false);
    a.publish("a", Uint8Array.of(1)); // lost, and no error
    const heard = nextMessage(b, "a"); // made while there is no connection
    await server.restart();
    await seen.next(true);
    const again = sendUntilHeard(a, "a", heard);
    expect([...(await again)]).toEqual([2]);
  });

  test("a server that is frozen is left; memory stays bounded, and close does not wait for it", async () => {
    const server = await startServer();
    const seen = connectionEvents();
    const bus = await openBus(server, seen);
    await server.kill("SIGSTOP");
    const payload = new Uint8Array(limits.exchangeMessageBytes);
    const count = (2 * limits.busPendingBytes) / payload.length;
    for (let index = 0; index < count; index++) bus.publish("a", payload);
    expect(bus.counters().droppedMessages).toBe(count / 2);
    await seen.next(false); // after two unanswered questions
    const start = performance.now();
    await bus.close();
    expect(performance.now() - start).toBeLessThan(2 * limits.busCloseMs);
    await server.kill("SIGCONT");
  });

  test("after a freeze messages are dropped no longer", async () => {
    const server = await startServer();
    const seen = connectionEvents();
    const [a, b] = [await openBus(server, seen), await openBus(server)];
    await server.kill("SIGSTOP");
    const payload = new Uint8Array(limits.exchangeMessageBytes);
    for (let index = 0; index <= limits.busPendingBytes / payload.length; index++) a.publish("b", payload);
    expect(a.counters().droppedMessages).toBe(1);
    await seen.next(false);
    await server.kill("SIGCONT");
    await seen.next(true);
    expect([...(await sendUntilHeard(a, "a", nextMessage(b, "a")))]).toEqual([2]);
    expect(a.counters().droppedMessages).toBe(1);
  });

  test("a reader that the server cuts off as slow comes back and hears again", async () => {
    const server = await startServer({ maxPendingBytes: 4 * limits.exchangeMessageBytes });
    const proxy = await PausingProxy.before(server.port);
    cleanUps.push(() => proxy.close());
    const seen = connectionEvents();
    const [a, b] = [await openBus(server), await openBus({ url: `nats://127.0.0.1:${proxy.port}` }, seen)];
    b.subscribe("much", () => undefined);
    await subscribed(b, a);
    proxy.pause(); // the reader's machine takes nothing
    const payload = new Uint8Array(limits.exchangeMessageBytes);
    while ((await server.counters()).slowConsumers === 0) for (let index = 0; index < 16; index++) a.publish("much", payload);
    proxy.resume();
    await seen.next(false);
    await seen.next(true);
    expect([...(await sendUntilHeard(a, "a", nextMessage(b, "a")))]).toEqual([2]);
    expect((await server.counters()).slowConsumers).toBeGreaterThan(0);
  });
});

/** What one publishes and the other hears, as one bus. Publishing waits until the server knows of the subscriptions. */
function joined(publisher: NatsGradientBus, reader: NatsGradientBus): GradientBus {
  let ready: Promise<void> | undefined;
  return {
    payloadBytesMax: publisher.payloadBytesMax,
    publish(subject, payload) {
      if (ready === undefined || payload.length > publisher.payloadBytesMax) return publisher.publish(subject, payload);
      const copy = new Uint8Array(payload);
      void ready.then(() => publisher.publish(subject, copy));
    },
    subscribe(subject, handler) {
      const subscription = reader.subscribe(subject, handler);
      const now = subscribed(reader, publisher);
      const before = ready;
      const all = Promise.all([before, now]).then(() => {
        if (ready === all) ready = undefined;
      });
      ready = all;
      return subscription;
    },
    async close() {
      await ready;
      await publisher.close();
      await reader.close();
    },
  };
}

let signs = 0;

/** Resolves when the server knows of all that `reader` has subscribed to so far. */
async function subscribed(reader: GradientBus, publisher: GradientBus, subject = `sign.${++signs}`): Promise<void> {
  const heard = nextMessage(publisher, subject);
  // The publisher's own subscription may come later than the sign.
  await sendUntilHeard(reader, subject, heard);
}

async function sendUntilHeard(from: GradientBus, subject: string, heard: Promise<Uint8Array>): Promise<Uint8Array> {
  const timer = setInterval(() => from.publish(subject, Uint8Array.of(2)), 20);
  from.publish(subject, Uint8Array.of(2));
  try {
    return await heard;
  } finally {
    clearInterval(timer);
  }
}

function nextMessage(bus: GradientBus, subject: string): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const subscription = bus.subscribe(subject, (payload) => {
      subscription.unsubscribe();
      resolve(payload);
    });
  });
}

function connectionEvents(): { onConnection: (connected: boolean) => void; next: (connected: boolean) => Promise<void> } {
  const events: boolean[] = [];
  let wake: () => void = () => undefined;
  return {
    onConnection: (connected) => {
      events.push(connected);
      wake();
    },
    next: async (connected) => {
      while (!events.includes(connected)) await new Promise<void>((resolve) => (wake = resolve));
      events.splice(0, events.indexOf(connected) + 1);
    },
  };
}
