import { strict as assert } from "node:assert";
import type { Tensor } from "onnxruntime-node";
import { GraphBuilder } from "../../../../../formats/onnx/graph-builder.js";
import { createSession, type Runtime } from "../../runtime.js";
import { convolve, point } from "./convolve.js";
import { nchwcDomain } from "./layouts.js";

/** Vectors of AVX2, and of AVX-512. */
const knownBlocks: readonly number[] = [8, 16];

const channels = 4;
const places = 6;
const values = Float32Array.from({ length: places * channels }, (_, i) => i / 4);

/**
 * The block size of the runtime's blocked operators on this CPU, or why they are not to be used: there are none, the size is none that we know, or a small convolution gives a wrong result.
 * The operators are the runtime's own: what they do may change from version to version, so a graph is run instead of looking at flags of the CPU.
 */
export async function probeBlocked(runtime: Runtime): Promise<{ readonly block: number } | { readonly reason: string }> {
  try {
    const block = await measuredBlock(runtime);
    if (!knownBlocks.includes(block)) return { reason: `blocks of ${block} channels` };
    return (await isRight(runtime, block)) ? { block } : { reason: "a convolution gave a wrong result" };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Four channels, filled up to a block. */
async function measuredBlock(runtime: Runtime): Promise<number> {
  const graph = new GraphBuilder();
  graph.input("x", "float32", [1, 1, places, channels]);
  graph.node("ReorderInput", ["x"], { channels_last: { int: 1 } }, "y", nchwcDomain);
  graph.output("y", "float32", [1, "channels", 1, places]);
  const { dims } = await outputOf(runtime, graph, {});
  return dims[1] ?? 0;
}

/** A row of places, each multiplied by 2, plus 1, and not above 6. */
async function isRight(runtime: Runtime, block: number): Promise<boolean> {
  const graph = new GraphBuilder();
  graph.input("x", "float32", [1, 1, places, channels]);
  graph.input("filter", "float32", [block, 1, 1, 1]);
  graph.input("bias", "float32", [block]);
  const x = graph.node("ReorderInput", ["x"], { channels_last: { int: 1 } }, undefined, nchwcDomain);
  const y = convolve(graph, { x, filter: "filter", bias: "bias", window: point, groups: block, activation: "relu6" });
  graph.node("ReorderOutput", [y], { channels: { int: channels }, channels_last: { int: 1 } }, "y", nchwcDomain);
  graph.output("y", "float32", [1, 1, places, channels]);
  const feeds = {
    filter: new runtime.Tensor("float32", new Float32Array(block).fill(2), [block, 1, 1, 1]),
    bias: new runtime.Tensor("float32", new Float32Array(block).fill(1), [block]),
  };
  const { data: found } = await outputOf(runtime, graph, feeds);
  return values.every((value, i) => found[i] === Math.min(2 * value + 1, 6));
}

/** `y` of a graph that is run once. */
async function outputOf(runtime: Runtime, graph: GraphBuilder, feeds: Readonly<Record<string, Tensor>>): Promise<Tensor> {
  // A CPU without such operators is no error: nothing is to be printed.
  const session = await createSession(runtime, graph.encode("probe"), 1, { logSeverityLevel: 4 });
  try {
    const { y } = await session.run({ ...feeds, x: new runtime.Tensor("float32", values, [1, 1, places, channels]) });
    assert(y !== undefined);
    return y;
  } finally {
    await session.release();
  }
}
