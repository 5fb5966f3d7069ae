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
    sessions.open({ madeFrom: ["a", { rows: 2 }], lower }, here(1)),
    sessions.open({ madeFrom: ["a", { rows: 2 }], lower }, here(1)),
  ]);
  expect(second.session).toBe(first.session);
  await first.release();
  const y = Float32Array.of(0);
  const tensor = (data: Float32Array): Tensor => new runtime.Tensor("float32", data, [1]);
  await second.session.run({ x: tensor(Float32Array.of(1)) }, { y: tensor(y) });
  expect(y).toEqual(Float32Array.of(2));
  await second.release();

  const third = await sessions.open({ madeFrom: ["a", { rows: 2 }], lower }, here(1));
  expect(third.session).not.toBe(first.session);
  expect(third.graph).toBe(first.graph);
  expect(count()).toBe(1);
  await third.release();
});

test("other graphs and other threads have sessions of their own; graphs that were not used for long are made again", async () => {
  const sessions = new Sessions(await loadRuntime());
  const { lower, count } = graphs();
  const open = [
    await sessions.open({ madeFrom: "a", lower }, here(1)),
    await sessions.open({ madeFrom: "a", lower }, here(2)),
    await sessions.open({ madeFrom: "b", lower }, here(1)),
  ];
  expect(new Set(open.map(({ session }) => session)).size).toBe(3);
  expect(count()).toBe(2);
  for (let i = 0; i < 20; i++) open.push(await sessions.open({ madeFrom: `others ${i}`, lower }, here(1)));
  expect(count()).toBe(22);
  open.push(await sessions.open({ madeFrom: "others 19", lower }, here(1)));
  expect(count()).toBe(22);
  open.push(await sessions.open({ madeFrom: "a", lower }, here(3)));
  expect(count()).toBe(23);
  await Promise.all(open.map(({ release }) => release()));
});

test("a graph that no session takes fails for all who wait, and again for the next", async () => {
  const sessions = new Sessions(await loadRuntime());
  const lower = (): { readonly model: Uint8Array } => ({ model: Uint8Array.of(1, 2, 3) });
  const outcomes = await Promise.allSettled([
    sessions.open({ madeFrom: "bad", lower }, here(1)),
    sessions.open({ madeFrom: "bad", lower }, here(1)),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  await expect(sessions.open({ madeFrom: "bad", lower }, here(1))).rejects.toThrow();
});
