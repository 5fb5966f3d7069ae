import { afterEach, expect, test } from "vitest";
import type { Tensor } from "onnxruntime-node";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import { type GraphSession, openHere } from "./graph-session.js";
import { loadRuntime } from "./runtime.js";
import { openInThread } from "./thread-session.js";

const runtime = await loadRuntime();
const float = (...values: number[]): Tensor => new runtime.Tensor("float32", Float32Array.from(values), [values.length]);
const index = (value: number): Tensor => new runtime.Tensor("int64", BigInt64Array.of(BigInt(value)), [1]);

/** y = x + 1, z = the element of x at `at`: an index that is not there fails when it runs. */
function model(): Uint8Array {
  const graph = new GraphBuilder();
  graph.sequenceOutput("sentinel", "float32");
  const x = graph.input("x", "float32", [3]);
  graph.node("Add", [x, graph.scalar(1)], {}, "y");
  graph.node("Gather", [x, graph.input("at", "int64", [1])], {}, "z");
  graph.output("y", "float32", [3]);
  graph.output("z", "float32", [1]);
  graph.nodeWithOutputs("SequenceConstruct", ["y"], ["sentinel"]);
  return graph.encode("test");
}

const open: GraphSession[] = [];
afterEach(async () => {
  for (const session of open.splice(0)) await session.release();
});

async function opened(): Promise<GraphSession> {
  const session = await openInThread(model(), 1);
  open.push(session);
  return session;
}

test("a session in a thread gives what one on the calling thread gives, call after call, and takes calls that do not wait for each other", async () => {
  const [there, here] = [await opened(), await openHere(runtime, model(), 1)];
  open.push(here);
  expect([there.inputs, there.outputs]).toEqual([here.inputs, here.outputs]);
  const calls = [1, 10, 100].map(async (x) => {
    const results = [there, here].map(async (session) => {
      const fetches = { y: float(0, 0, 0), z: float(0) };
      await session.run({ x: float(x, 2, 3), at: index(2) }, fetches);
      return [fetches.y.data, fetches.z.data];
    });
    const [inThread, onCaller] = await Promise.all(results);
    expect(inThread).toEqual([Float32Array.of(x + 1, 3, 4), Float32Array.of(3)]);
    expect(inThread).toEqual(onCaller);
  });
  await Promise.all(calls);
});

test("a run that fails says why, and the next one runs", async () => {
  const session = await opened();
  const fetches = { y: float(0, 0, 0), z: float(0) };
  await expect(session.run({ x: float(1, 2, 3), at: index(7) }, fetches)).rejects.toThrow(/idx=7|out of/u);
  await session.run({ x: float(1, 2, 3), at: index(1) }, fetches);
  expect(fetches.z.data).toEqual(Float32Array.of(2));
});

test("arrays of other lengths are refused before anything crosses over", async () => {
  const session = await opened();
  await expect(session.run({ x: float(1, 2), at: index(0) }, { y: float(0, 0, 0), z: float(0) })).rejects.toThrow(
    /x must be 3 elements of float32/u,
  );
  const fetches = { y: float(0, 0, 0), z: float(0) };
  await session.run({ x: float(1, 2, 3), at: index(0) }, fetches);
  expect(fetches.z.data).toEqual(Float32Array.of(1));
});

test("what is no graph is refused as it is on the calling thread", async () => {
  const bytes = Uint8Array.of(1, 2, 3);
  const here = await openHere(runtime, bytes, 1).catch((error: unknown) => error);
  const there = await openInThread(bytes, 1).catch((error: unknown) => error);
  expect(there).toMatchObject({ message: (here as Error).message });
});

test("a run after the release fails at once", async () => {
  const session = await openInThread(model(), 1);
  await session.release();
  await expect(session.run({ x: float(1, 2, 3), at: index(0) }, { y: float(0, 0, 0), z: float(0) })).rejects.toThrow(/ended/u);
});
