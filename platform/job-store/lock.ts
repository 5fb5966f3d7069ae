import type { ObjectStore } from "../object-store/object-store.js";
import { decodeJson, encodeJson } from "./job-store.js";
import type { ProcessIdentity, Processes } from "./processes.js";

export type LockOutcome =
  | { readonly kind: "acquired"; readonly release: () => Promise<void> }
  /** Held by a process that is alive, or on another machine whose processes cannot be seen from here. */
  | { readonly kind: "held"; readonly by: ProcessIdentity; readonly key: string };

/** Other processes may take and free a lock while this one looks; more often in a row than this is a fault. */
const ATTEMPTS_MAX = 100;

/**
 * Keeps a second local run of a job away while one is at work. It only saves work: facts are safe without it.
 *
 * The lock is a row of objects `jobs/<id>/lock/<n>.json`; the one with the highest n says who holds it or that it was freed. Taking it over is create-if-absent of n + 1, so of several
 * that see the same dead holder one wins. The highest one is never deleted, so a number is not given twice to anybody who could believe it: whoever creates one below the highest (from an
 * old view of the row) sees that afterwards and withdraws.
 */
export async function acquireJobLock(store: ObjectStore, jobId: string, processes: Processes): Promise<LockOutcome> {
  const keyOf = (n: number) => `jobs/${jobId}/lock/${n}.json`;
  const self = await processes.self();
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    // 1. Who holds it?
    const numbers = await lockNumbers(store, jobId);
    const highest = numbers.at(-1);
    if (highest !== undefined) {
      const body = await store.read(keyOf(highest));
      if (body === undefined) continue;
      const record = decodeJson(body, `${store.location}: ${keyOf(highest)}`, checkRecord);
      if (record.holder !== null && (await processes.isAlive(record.holder)))
        return { kind: "held", by: record.holder, key: keyOf(highest) };
    }
    // 2. Nobody that lives: the next number is free for one of us.
    const mine = (highest ?? -1) + 1;
    if ((await store.create(keyOf(mine), encodeJson({ holder: self }))) === "exists") continue;
    const now = await lockNumbers(store, jobId);
    if (now.at(-1) !== mine) {
      await store.delete(keyOf(mine));
      continue;
    }
    // 3. Sweep what lies below.
    for (const old of now) if (old < mine) await store.delete(keyOf(old));
    return { kind: "acquired", release: () => store.put(keyOf(mine), encodeJson({ holder: null })) };
  }
  throw new Error(`lock of job ${jobId}: taken and freed ${ATTEMPTS_MAX} times while this process looked`);
}

async function lockNumbers(store: ObjectStore, jobId: string): Promise<number[]> {
  const numbers: number[] = [];
  for await (const key of store.list(`jobs/${jobId}/lock/`)) {
    const number = /\/(\d+)\.json$/.exec(key)?.[1];
    if (number !== undefined) numbers.push(Number(number));
  }
  return numbers.sort((a, b) => a - b);
}

function checkRecord(value: unknown): { readonly holder: ProcessIdentity | null } {
  const { holder } = (value ?? {}) as { readonly holder?: unknown };
  if (holder === null) return { holder };
  const { host, boot, pid, started } = (holder ?? {}) as Partial<Record<keyof ProcessIdentity, unknown>>;
  if (typeof host !== "string" || typeof boot !== "string" || typeof pid !== "number" || typeof started !== "string") {
    throw new Error("holder should be null or name a process by host, boot, pid and started");
  }
  return { holder: { host, boot, pid, started } };
}
