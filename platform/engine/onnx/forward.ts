import { strict as assert } from "node:assert";
import { elementCount, type Network, type Weights } from "../../../domain/network/network.js";
import { foldBatchNorm } from "../../../domain/network/fold-batch-norm.js";
import { layerShapes } from "../../../domain/network/shapes.js";
import { encodeOnnx } from "../../../formats/onnx/encode-network.js";
import type { Forward, ForwardOptions } from "../engine.js";
import { createSession, type Runtime } from "./runtime.js";

/** The frozen network as one session with constant weights; see `Engine.compileForward`. */
export async function compileForward(
  runtime: Runtime,
  threads: number,
  network: Network,
  weights: Weights,
  options: ForwardOptions,
): Promise<Forward> {
  const { batch, preprocessing } = options;
  assert(Number.isInteger(batch) && batch >= 1, `a forward pass needs a batch of at least 1 row, found ${batch}`);
  const folded = foldBatchNorm(network, weights);
  // Constant weights are packed once when the session is made, which fixes the order of all additions: no bit depends on threads, batch or position.
  const model = encodeOnnx(folded.network, folded.weights, {
    batch,
    inputName: "input",
    outputName: "output",
    ...(preprocessing && { preprocessing }),
  });
  const session = await createSession(runtime, model, threads);

  const inputRow = elementCount(network.inputShape);
  const outputShape = layerShapes(network).get(network.output);
  assert(outputShape !== undefined);
  const outputRow = elementCount(outputShape);
  const dims = [batch, ...network.inputShape];

  return {
    batch,
    async run(input, rows) {
      assert(Number.isInteger(rows) && rows >= 1 && rows <= batch, `a forward pass takes 1 to ${batch} rows, found ${rows}`);
      assert.equal(
        input.length,
        rows * inputRow,
        `network ${network.name}: ${rows} rows of [${network.inputShape.join(", ")}] have ${rows * inputRow} values, found ${input.length}`,
      );
      const bytes = input instanceof Uint8Array;
      assert.equal(
        bytes,
        preprocessing !== undefined,
        `network ${network.name} takes ${preprocessing ? "pixels (Uint8Array)" : "a Float32Array"}`,
      );
      const whole = rows === batch ? input : padded(input, batch * inputRow);
      const tensor = whole instanceof Uint8Array ? new runtime.Tensor("uint8", whole, dims) : new runtime.Tensor("float32", whole, dims);
      const { output } = await session.run({ input: tensor });
      assert(output?.data instanceof Float32Array);
      // What the binding hands out is a copy that nobody else holds.
      return rows === batch ? output.data : output.data.slice(0, rows * outputRow);
    },
    release: () => session.release(),
  };
}

function padded(input: Uint8Array | Float32Array, length: number): Uint8Array | Float32Array {
  const whole = input instanceof Uint8Array ? new Uint8Array(length) : new Float32Array(length);
  whole.set(input);
  return whole;
}
