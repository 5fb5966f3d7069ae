import { expect, test } from "vitest";
import { inOrder } from "./in-order.js";

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const result of results) list.push(result);
  return list;
}

function setup({ itemsMax = 3, bytesMax = 1_000, bytes = 1 } = {}) {
  let running = 0;
  const seen = { runningMax: 0 };
  const work = async (item: number) => {
    seen.runningMax = Math.max(seen.runningMax, ++running);
    for (let turn = 0; turn < (item * 7) % 5; turn++) await Promise.resolve();
    running--;
    return item * 10;
  };
  return { seen, work, bounds: { itemsMax, bytesMax, bytesOf: () => bytes } };
}

test("results come in the order of the items, whichever is ready first", async () => {
  const { work, bounds } = setup();
  expect(await collect(inOrder([1, 2, 3, 4, 5], bounds, work))).toEqual([10, 20, 30, 40, 50]);
});

test("no more items and bytes are in flight than the bounds allow, and one item is always let through", async () => {
  const few = setup({ itemsMax: 2 });
  await collect(inOrder([1, 2, 3, 4, 5, 6], few.bounds, few.work));
  expect(few.seen.runningMax).toBe(2);
  const large = setup({ itemsMax: 9, bytesMax: 10, bytes: 11 });
  expect(await collect(inOrder([1, 2, 3], large.bounds, large.work))).toEqual([10, 20, 30]);
  expect(large.seen.runningMax).toBe(1);
});

test("a failure is thrown in its place", async () => {
  const { bounds } = setup();
  const results: number[] = [];
  const run = async () => {
    for await (const result of inOrder([1, 2, 3], bounds, (item) =>
      item === 2 ? Promise.reject(new Error("second")) : Promise.resolve(item),
    ))
      results.push(result);
  };
  await expect(run()).rejects.toThrow("second");
  expect(results).toEqual([1]);
});
