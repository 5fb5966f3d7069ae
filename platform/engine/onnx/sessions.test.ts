import type { Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import { loadRuntime } from "./runtime.js";
import { type Placement, Sessions } from "./sessions.js";

/** A graph that adds a number, and how often it was made. */
function graphs(): { readonly lower: () => { readonly model: Uint8Array }; readonly count: () => number } {
  let made = 0;
  const lower = (): { readonly model: Uint8Array } => {
    made++;
    const graph = new GraphBuilder();
    graph.node("Add", [graph.input("x", "float32", [1]), graph.scalar(1)], {}, "y");
    graph.output("y", "float32", [1]);
    return { model: graph.encode("test") };
  };
  return { lower, count: () => made };
}

const here = (threads: number): Placement => ({ threads, inOwnThread: false });

test("a graph is made once, and who uses it at the same time shares a session, which lasts until the last has released it", async () => {
  const runtime = await loadRuntime();
  const sessions = new Sessions(runtime);
  const { lower, count } = graphs();
  const [first, second] = await Promise.all([
    sessions.open(["a", { rows: 2 }], here(1), lower),
    sessions.open(["a", { rows: 2 }], here(1), lower),
  ]);
  expect(second.session).toBe(first.session);
  await first.release();
  const y = Float32Array.of(0);
  const tensor = (data: Float32Array): Tensor => new runtime.Tensor("float32", data, [1]);
  await second.session.run({ x: tensor(Float32Array.of(1)) }, { y: tensor(y) });
  expect(y).toEqual(Float32Array.of(2));
  await second.release();

  const third = await sessions.open(["a", { rows: 2 }], here(1), lower);
  expect(third.session).not.toBe(first.session);
  expect(third.graph).toBe(first.graph);
  expect(count()).toBe(1);
  await third.release();
});

test("other graphs and other threads have sessions of their own; graphs that were not used for long are made again", async () => {
  const sessions = new Sessions(await loadRuntime());
  const { lower, count } = graphs();
  const open = [
    await sessions.open("a", here(1), lower),
    await sessions.open("a", here(2), lower),
    await sessions.open("b", here(1), lower),
  ];
  expect(new Set(open.map(({ session }) => session)).size).toBe(3);
  expect(count()).toBe(2);
  for (let i = 0; i < 20; i++) open.push(await sessions.open(`others ${i}`, here(1), lower));
  expect(count()).toBe(22);
  open.push(await sessions.open("others 19", here(1), lower));
  expect(count()).toBe(22);
  open.push(await sessions.open("a", here(3), lower));
  expect(count()).toBe(23);
  await Promise.all(open.map(({ release }) => release()));
});

test("a graph that no session takes fails for all who wait, and again for the next", async () => {
  const sessions = new Sessions(await loadRuntime());
  const lower = (): { readonly model: Uint8Array } => ({ model: Uint8Array.of(1, 2, 3) });
  const outcomes = await Promise.allSettled([sessions.open("bad", here(1), lower), sessions.open("bad", here(1), lower)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(sessions.open("bad", here(1), lower)).rejects.toThrow();
});
