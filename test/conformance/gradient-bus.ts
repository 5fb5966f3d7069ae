import { expect, test } from "vitest";
import type { GradientBus } from "../../platform/gradient-bus/gradient-bus.js";

/** What every gradient bus must do. `open` gives a bus of its own to each test; a handler's error must reach the `onHandlerError` that the adapter was opened with. */
export function exerciseGradientBus(name: string, open: (onHandlerError: (error: unknown) => void) => Promise<GradientBus>): void {
  const ignore = (): void => undefined;

  test(`${name}: every subscriber of the subject gets the message, others none`, async () => {
    const bus = await open(ignore);
    const [first, second, other] = [inbox(bus, "a.b"), inbox(bus, "a.b"), inbox(bus, "a.c")];
    bus.publish("a.b", Uint8Array.of(1, 2, 3));
    bus.publish("a.b", new Uint8Array(0));
    expect(await first.next(2)).toEqual([[1, 2, 3], []]);
    expect(await second.next(2)).toEqual([[1, 2, 3], []]);
    expect(other.received).toEqual([]);
    await bus.close();
  });

  test(`${name}: publish returns before anything is delivered`, async () => {
    const bus = await open(ignore);
    const box = inbox(bus, "a");
    bus.publish("a", Uint8Array.of(1));
    expect(box.received).toEqual([]);
    expect(await box.next(1)).toEqual([[1]]);
    await bus.close();
  });

  test(`${name}: what is published from a view arrives as just that`, async () => {
    const bus = await open(ignore);
    const [first, second] = [inbox(bus, "a"), inbox(bus, "a")];
    bus.publish("a", Uint8Array.of(0, 10, 5, 0).subarray(1, 3));
    bus.publish("a", Buffer.of(1, 2, 3).subarray(2));
    expect(await first.next(2)).toEqual([[10, 5], [3]]);
    expect(await second.next(2)).toEqual([[10, 5], [3]]);
    await bus.close();
  });

  test(`${name}: a handler that throws ends neither the subscription nor the others`, async () => {
    const errors: unknown[] = [];
    const bus = await open((error) => errors.push(error));
    let calls = 0;
    bus.subscribe("a", () => {
      calls += 1;
      throw new Error(`call ${calls}`);
    });
    const box = inbox(bus, "a");
    bus.publish("a", Uint8Array.of(1));
    bus.publish("a", Uint8Array.of(2));
    expect(await box.next(2)).toEqual([[1], [2]]);
    expect(errors.map(String)).toEqual(["Error: call 1", "Error: call 2"]);
    await bus.close();
  });

  test(`${name}: nothing comes after unsubscribe, though it was under way`, async () => {
    const bus = await open(ignore);
    const received: number[] = [];
    const subscription = bus.subscribe("a", (payload) => received.push(payload[0] as number));
    bus.publish("a", Uint8Array.of(1));
    subscription.unsubscribe();
    subscription.unsubscribe();
    const box = inbox(bus, "b");
    bus.publish("b", Uint8Array.of(2));
    expect(await box.next(1)).toEqual([[2]]);
    expect(received).toEqual([]);
    await bus.close();
  });

  test(`${name}: the largest payload arrives whole, a larger one is refused`, async () => {
    const bus = await open(ignore);
    const box = inbox(bus, "a");
    const payload = Uint8Array.from({ length: bus.payloadBytesMax }, (_, at) => at % 251);
    bus.publish("a", payload);
    expect(Uint8Array.from((await box.next(1))[0] ?? [])).toEqual(payload);
    expect(() => bus.publish("a", new Uint8Array(bus.payloadBytesMax + 1))).toThrow(String(bus.payloadBytesMax));
    await bus.close();
  });

  test(`${name}: thousands of messages of one publisher come in the order of publishing, a throwing handler beside them`, async () => {
    const errors: unknown[] = [];
    const bus = await open((error) => errors.push(error));
    const count = 5_000;
    bus.subscribe("a", () => {
      throw new Error("in the way");
    });
    const numbers: number[] = [];
    const arrived = new Promise<void>((resolve) => {
      bus.subscribe("a", (payload) => {
        numbers.push(new DataView(payload.buffer, payload.byteOffset).getUint32(0));
        if (numbers.length === count) resolve();
      });
    });
    // Of all sizes up to 3 kB, so that they begin and end anywhere in what a socket reads at once.
    for (let index = 0; index < count; index++) {
      const payload = new Uint8Array(4 + ((index * 577) % 3_000));
      new DataView(payload.buffer).setUint32(0, index);
      bus.publish("a", payload);
    }
    await arrived;
    expect(numbers).toEqual(Array.from({ length: count }, (_, index) => index));
    expect(errors.length).toBe(count);
    await bus.close();
  });

  test(`${name}: a payload that is kept stays as it is while others come`, async () => {
    const bus = await open(ignore);
    const kept: Uint8Array[] = [];
    const arrived = new Promise<void>((resolve) => {
      bus.subscribe("a", (payload) => {
        if (kept.push(payload) === 40) resolve();
      });
    });
    const payloads = Array.from({ length: 40 }, (_, index) =>
      new Uint8Array(index % 2 === 0 ? 100 : Math.floor(bus.payloadBytesMax / 3)).fill(index),
    );
    for (const payload of payloads) bus.publish("a", payload);
    await arrived;
    kept.forEach((payload, index) => expect(Buffer.compare(payload, payloads[index]!), `payload ${index}`).toBe(0));
    await bus.close();
  });

  test(`${name}: a handler may publish and subscribe`, async () => {
    const bus = await open(ignore);
    const box = inbox(bus, "answer");
    bus.subscribe("question", (payload) => bus.publish("answer", payload));
    bus.publish("question", Uint8Array.of(4));
    expect(await box.next(1)).toEqual([[4]]);
    await bus.close();
  });

  test(`${name}: a closed bus delivers nothing and refuses more`, async () => {
    const bus = await open(ignore);
    const box = inbox(bus, "a");
    await bus.close();
    expect(() => bus.publish("a", Uint8Array.of(1))).toThrow("closed");
    expect(() => bus.subscribe("a", ignore)).toThrow("closed");
    expect(box.received).toEqual([]);
    await bus.close();
  });
}

/** What arrives on a subject, as plain arrays. */
function inbox(bus: GradientBus, subject: string): { readonly received: number[][]; next(count: number): Promise<number[][]> } {
  const received: number[][] = [];
  let wake: () => void = () => undefined;
  bus.subscribe(subject, (payload) => {
    received.push([...payload]);
    wake();
  });
  return {
    received,
    async next(count) {
      while (received.length < count) await new Promise<void>((resolve) => (wake = resolve));
      return received;
    },
  };
}
