import { retry, type RetryDeps, type RetryPolicy } from "../retry/retry.js";
import type { ObjectStore } from "./object-store.js";

/**
 * A store whose passing failures (STORE_UNAVAILABLE) are tried again, here and nowhere above. A create that succeeded and could not say so answers "exists" when it is repeated:
 * all callers read back what stands there.
 */
export function retryingObjectStore(store: ObjectStore, policy: RetryPolicy, deps: RetryDeps): ObjectStore {
  const again = <T>(operation: () => Promise<T>): Promise<T> => retry(policy, operation, deps);
  return {
    location: store.location,
    create: (key, body) => again(() => store.create(key, body)),
    put: (key, body) => again(() => store.put(key, body)),
    read: (key) => again(() => store.read(key)),
    readRange: (key, from, to) => again(() => store.readRange(key, from, to)),
    stat: (key) => again(() => store.stat(key)),
    list: (prefix) => listAgain(store, prefix, again),
    delete: (key) => again(() => store.delete(key)),
    ...(store.urlOf && { urlOf: store.urlOf.bind(store) }),
  };
}

/** After a failure the listing begins anew and passes over what it has given already; keys come in ascending order. */
async function* listAgain(
  store: ObjectStore,
  prefix: string,
  again: <T>(operation: () => Promise<T>) => Promise<T>,
): AsyncGenerator<string> {
  let last: string | undefined;
  let keys: AsyncIterator<string> | undefined;
  const next = async (): Promise<IteratorResult<string>> => {
    keys ??= store.list(prefix)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const result = await keys.next();
        if (result.done === true || last === undefined || result.value > last) return result;
      }
    } catch (error) {
      keys = undefined;
      throw error;
    }
  };
  for (;;) {
    const result = await again(next);
    if (result.done === true) return;
    last = result.value;
    yield result.value;
  }
}
