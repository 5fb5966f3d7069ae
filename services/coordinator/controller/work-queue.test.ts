import { expect, test } from "vitest";
import { settled } from "../../../test/support/jobs-in-memory.js";
import { ManualClock } from "../../../test/support/virtual-clock.js";
import { WorkQueue } from "./work-queue.js";

/** Each key's work ends when the test lets it. */
function setup(atOnce = 2) {
  const clock = new ManualClock();
  const begun: string[] = [];
  const open = new Map<string, () => void>();
  const queue = new WorkQueue(clock, atOnce, async (key) => {
    begun.push(key);
    await new Promise<void>((resolve) => open.set(key, resolve));
  });
  const stop = new AbortController();
  let isOver = false;
  void queue.run(stop.signal).then(() => (isOver = true));
  const end = async (key: string): Promise<void> => {
    open.get(key)?.();
    await settled();
  };
  return { clock, queue, begun, end, stop, isOver: () => isOver };
}

test("so many at once, each key by one at a time; what is asked for meanwhile comes afterwards, once", async () => {
  const { queue, begun, end } = setup();
  for (const key of ["a", "b", "c", "a"]) queue.add(key);
  await settled();
  expect(begun).toEqual(["a", "b"]);
  queue.add("a");
  queue.add("a");
  await settled();
  expect(begun).toEqual(["a", "b"]);
  await end("b");
  expect(begun).toEqual(["a", "b", "c"]);
  await end("a");
  await end("c");
  expect(begun).toEqual(["a", "b", "c", "a"]);
  await end("a");
  expect(begun).toHaveLength(4);
});

test("a key that is worked on waits for itself, though there is room", async () => {
  const { queue, begun, end } = setup(3);
  queue.add("a");
  await settled();
  queue.add("a");
  await settled();
  expect(begun).toEqual(["a"]);
  await end("a");
  expect(begun).toEqual(["a", "a"]);
});

test("a key is due at the earliest time that anybody asked for", async () => {
  const { clock, queue, begun } = setup();
  queue.add("a", 5_000);
  queue.add("a", 1_000);
  queue.add("a", 9_000);
  await settled();
  clock.pass(999);
  await settled();
  expect(begun).toEqual([]);
  clock.pass(1);
  await settled();
  expect(begun).toEqual(["a"]);
});

test("after the signal nothing begins, and it is over when what is under way has ended", async () => {
  const { queue, begun, end, stop, isOver } = setup();
  queue.add("a");
  await settled();
  stop.abort(new Error("over"));
  queue.add("b");
  await settled();
  expect([begun, isOver()]).toEqual([["a"], false]);
  await end("a");
  expect(isOver()).toBe(true);
  expect(begun).toEqual(["a"]);
});
