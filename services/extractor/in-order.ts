/**
 * Works on items ahead of their consumer and yields the results in the order of the items. At most `itemsMax` are in flight, and no more than `bytesMax` bytes
 * by `bytesOf` (one item is always let through). A slow consumer slows the work down. The first failure ends it, after what is in flight has settled.
 */
export async function* inOrder<Item, Result>(
  items: Iterable<Item>,
  bounds: { readonly itemsMax: number; readonly bytesMax: number; readonly bytesOf: (item: Item) => number },
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void> {
  const inFlight: { readonly result: Promise<Result>; readonly bytes: number }[] = [];
  let bytesInFlight = 0;
  const iterator = items[Symbol.iterator]();
  let next = iterator.next();
  try {
    for (;;) {
      while (next.done !== true && inFlight.length < bounds.itemsMax) {
        const bytes = bounds.bytesOf(next.value);
        if (inFlight.length > 0 && bytesInFlight + bytes > bounds.bytesMax) break;
        const result = work(next.value);
        result.catch(() => undefined); // awaited below; a failure of a later item must not end the process first
        inFlight.push({ result, bytes });
        bytesInFlight += bytes;
        next = iterator.next();
      }
      const first = inFlight.shift();
      if (first === undefined) return;
      const result = await first.result;
      bytesInFlight -= first.bytes;
      yield result;
    }
  } finally {
    await Promise.allSettled(inFlight.map(({ result }) => result));
  }
}
