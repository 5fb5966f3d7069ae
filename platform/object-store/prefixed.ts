import type { ObjectStore } from "./object-store.js";

/** The part of a store below `prefix`, which ends with `/`, as a store of its own: no key leads out of it. */
export function prefixedObjectStore(store: ObjectStore, prefix: string): ObjectStore {
  const urlOf = store.urlOf?.bind(store);
  return {
    location: `${store.location}/${prefix.slice(0, -1)}`,
    create: (key, body) => store.create(prefix + key, body),
    put: (key, body) => store.put(prefix + key, body),
    read: (key) => store.read(prefix + key),
    readRange: (key, from, to) => store.readRange(prefix + key, from, to),
    stat: (key) => store.stat(prefix + key),
    async *list(within) {
      for await (const key of store.list(prefix + within)) yield key.slice(prefix.length);
    },
    delete: (key) => store.delete(prefix + key),
    ...(urlOf && { urlOf: (key, seconds) => urlOf(prefix + key, seconds) }),
  };
}
