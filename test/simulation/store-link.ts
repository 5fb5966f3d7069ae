import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { retryingObjectStore } from "../../platform/object-store/retrying.js";
import type { RetryDeps, RetryPolicy } from "../../platform/retry/retry.js";
import type { Network } from "./network.js";
import type { SimulatedProcess } from "./process.js";

/** How long a client waits for a store that cannot be reached. */
const UNREACHABLE_MS = 1_000;

/** An upload takes up to this long, in which its process can die. */
const UPLOAD_MS_MAX = 200;

/** The policy of production. */
const retries: RetryPolicy = {
  attemptsMax: limits.retryAttempts,
  firstDelayMs: limits.retryFirstDelayMs,
  totalMsMax: limits.retryTotalMs,
};

export function retryDepsOf(process: SimulatedProcess, network: Network): RetryDeps {
  return { clock: process.clock, random: () => network.random.uniform() };
}

/**
 * The one store as a process sees it: operations take time, fail before or after they took effect, and an upload that its process does not live to finish leaves nothing.
 * Passing failures are tried again by the adapter of production.
 */
export function storeLink(process: SimulatedProcess, shared: ObjectStore, network: Network): ObjectStore {
  const { clock } = network;

  /** `isUpload`: the body has to be sent to its end, so that a process that dies meanwhile may have torn it. */
  function operate<T>(what: string, isUpload: boolean, operation: () => Promise<T>): Promise<T> {
    return process.call(async () => {
      const unavailable = (): CodedError => new CodedError("STORE_UNAVAILABLE", `${what}: the simulated store does not answer; try again`);
      if (!network.isOpen(process.host, "store")) {
        await clock.sleep(UNREACHABLE_MS);
        throw unavailable();
      }
      const fails = network.drawFault("storeFailures");
      const tookEffect = fails && network.draw(0.5);
      await clock.sleep(network.transitMs() + (isUpload ? network.random.below(UPLOAD_MS_MAX) : 0));
      if (fails && !tookEffect) throw unavailable();
      if (isUpload && !process.isAlive && network.draw(0.5)) {
        network.count("torn upload");
        throw unavailable(); // nobody is there to hear it
      }
      const result = await operation();
      await clock.sleep(network.transitMs());
      if (fails || !network.isOpen(process.host, "store")) throw unavailable();
      return result;
    });
  }

  async function* list(prefix: string): AsyncGenerator<string> {
    yield* await operate(`list ${prefix}`, false, async () => {
      const keys: string[] = [];
      for await (const key of shared.list(prefix)) keys.push(key);
      return keys;
    });
  }

  const link: ObjectStore = {
    location: shared.location,
    create: (key, body) => {
      const sent = body.slice();
      return operate(`create ${key}`, true, () => shared.create(key, sent));
    },
    put: (key, body) => {
      const sent = body.slice();
      return operate(`put ${key}`, true, () => shared.put(key, sent));
    },
    read: (key) => operate(`read ${key}`, false, () => shared.read(key)),
    readRange: (key, from, to) => operate(`read ${key}`, false, () => shared.readRange(key, from, to)),
    stat: (key) => operate(`stat ${key}`, false, () => shared.stat(key)),
    list,
    delete: (key) => operate(`delete ${key}`, false, () => shared.delete(key)),
  };
  return retryingObjectStore(link, retries, retryDepsOf(process, network));
}
