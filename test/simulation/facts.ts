import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { Clock } from "../../platform/clock/clock.js";

/** What may be written again with other bytes, and until which fact stands. */
const rewritable: readonly (readonly [key: RegExp, until: string | undefined])[] = [
  [/^jobs\/[^/]+\/status\.json$/, undefined],
  [/^jobs\/[^/]+\/listing\/\d+\.arrow$/, "listing/summary.json"],
  [/^jobs\/[^/]+\/samples\/\d+\.arrow$/, "samples/summary.json"],
  // These hold measured times: a trainer that was paused in its export and wakes up writes its own.
  [/^jobs\/[^/]+\/result\/(metrics\.json|report\.html|events\/.+)$/, undefined],
  [/^jobs\/[^/]+\/result\/.+$/, "result.json"],
];

/** The one store of a world. Whoever overwrites a fact is reported. */
export function factStore(clock: Pick<Clock, "now">, violated: (what: string) => void): ObjectStore {
  const store = memoryObjectStore(clock);
  return {
    ...store,
    async put(key, body) {
      const before = await store.read(key);
      if (before !== undefined && Buffer.compare(before, body) !== 0) {
        const rule = rewritable.find(([pattern]) => pattern.test(key));
        const until = rule?.[1] === undefined ? undefined : `${key.split("/").slice(0, 2).join("/")}/${rule[1]}`;
        if (rule === undefined) violated(`${key} was overwritten`);
        else if (until !== undefined && (await store.read(until)) !== undefined) violated(`${key} was overwritten after ${until} stood`);
      }
      await store.put(key, body);
    },
  };
}
