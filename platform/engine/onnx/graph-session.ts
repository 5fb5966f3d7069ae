import { strict as assert } from "node:assert";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { elementCount } from "../../../domain/network/network.js";
import { arrays, type ElementType } from "./packed-arrays.js";
import { createSession, type Runtime } from "./runtime.js";
import { runWithoutCopies, sentinel } from "./run-without-copies.js";

/** An input or output of a graph, in lengths that are known. */
export interface TensorInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
}

export type Feeds = Readonly<Record<string, Tensor>>;

/** A graph that can be run, on the calling thread or in one of its own (thread-session.ts). */
export interface GraphSession {
  readonly inputs: readonly TensorInfo[];
  /** Without the sentinel. */
  readonly outputs: readonly TensorInfo[];
  /** Writes into the arrays of `fetches`, which has every output. */
  run(feeds: Feeds, fetches: Feeds): Promise<void>;
  release(): Promise<void>;
}

export function freshTensors(runtime: Runtime, tensors: readonly TensorInfo[]): Record<string, Tensor> {
  return Object.fromEntries(
    tensors.map(({ name, type, dims }) => [name, new runtime.Tensor(type, new arrays[type](elementCount(dims)), dims)]),
  );
}

/** On the calling thread, which waits. */
export async function openHere(runtime: Runtime, model: Uint8Array, threads: number): Promise<GraphSession> {
  // The graph is written as it shall run; the optimiser could join operators differently for different numbers of grains.
  // A pattern of its memory is laid out beside what the first run took: 1.2 GB instead of 0.7 for a step of MobileNetV2, and no faster.
  const session = await createSession(runtime, model, threads, { graphOptimizationLevel: "disabled", enableMemPattern: false });
  const hasSentinel = session.outputNames.includes(sentinel);
  return {
    inputs: session.inputMetadata.map(tensorInfo),
    outputs: session.outputMetadata.filter(({ name }) => name !== sentinel).map(tensorInfo),
    async run(feeds, fetches) {
      if (hasSentinel) await runWithoutCopies(session, feeds, fetches);
      else await session.run(feeds, fetches);
    },
    release: () => session.release(),
  };
}

function tensorInfo(metadata: InferenceSession.ValueMetadata): TensorInfo {
  assert(metadata.isTensor);
  const { name, type, shape } = metadata;
  assert(type === "float32" || type === "uint8" || type === "int32" || type === "int64", `${name} has elements of type ${type}`);
  const dims = shape.map((length) => {
    assert(typeof length === "number", `${name} has an unknown length`);
    return length;
  });
  return { name, type, dims };
}
