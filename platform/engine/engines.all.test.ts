import { beforeAll, describe, expect, test, type TestContext } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { elementCount } from "../../domain/network/network.js";
import { parameterLayout } from "../../domain/training/parameters.js";
import { expectClose, expectTensors } from "../../test/conformance/engine/compare.js";
import { isTrainedBy, run } from "../../test/conformance/engine/engines.js";
import { gradientInput, randoms, randomWeights } from "../../test/conformance/engine/inputs.js";
import { chain, dense, relu } from "../../test/conformance/engine/layers.js";
import { nameOf, networks, trainableOf, trainables } from "../../test/conformance/engine/networks.js";
import type { Engine } from "./engine.js";
import { openEngine } from "./engines.js";

// Each engine passes its suite by itself; here one is held against the other, at the sizes of real heads too.
describe("onnx and tensorflow agree", () => {
  let onnx: Engine;
  let tensorflow: Engine | CodedError;
  beforeAll(async () => {
    onnx = await openEngine("onnx");
    tensorflow = await openEngine("tensorflow").catch((error: unknown) => {
      if (error instanceof CodedError && error.code === "ENGINE_UNAVAILABLE") return error;
      throw error;
    });
  });

  /** Both engines; where there is no TensorFlow the test is skipped and says why. */
  function both({ skip }: TestContext): readonly [Engine, Engine] {
    if (tensorflow instanceof CodedError) return skip(tensorflow.message);
    return [onnx, tensorflow];
  }

  test.for(networks.map((network) => [network.name, network] as const))("forward: %s", async ([, network], context) => {
    const weights = randomWeights(network, 21);
    const input = randoms(3 * elementCount(network.inputShape), 22).map((value) => value * 3);
    const outputs: Float32Array[] = [];
    for (const engine of both(context)) {
      const forward = await engine.compileForward(network, weights, { batch: 4 });
      outputs.push(await forward.run(input, 3));
      await forward.release();
    }
    expectClose(outputs[1]!, outputs[0]!, 1e-5, "output");
  });

  const heads = [1, 2, 102].flatMap((classes) => [
    trainableOf(chain(`1280 features to ${classes} outputs`, [1280], [dense(classes)])),
    trainableOf(
      chain(
        `7x7x96 features to ${classes} outputs`,
        [7, 7, 96],
        [{ kind: "flatten" }, dense(64), relu, { kind: "dropout", rate: 0.5 }, dense(classes)],
      ),
    ),
  ]);
  const shared = [...trainables, ...heads].filter((trainable) => isTrainedBy("onnx", trainable) && isTrainedBy("tensorflow", trainable));
  test.for(shared.map((trainable) => [nameOf(trainable), trainable] as const))(
    "gradient and evaluation: %s",
    async ([, trainable], context) => {
      const shape = { grains: 4, grainRows: 12 };
      const input = gradientInput(trainable, shape, 23);
      const rows = 48;
      const results = [];
      for (const engine of both(context)) {
        const evaluation = await engine.compileEvaluation(trainable, rows);
        results.push({ sums: await run(engine, trainable, input, shape), evaluated: await evaluation.run(input) });
        await evaluation.release();
      }
      const [expected, found] = results;
      expectClose([found!.sums.loss], [expected!.sums.loss], 1e-5, "loss");
      expect(found!.sums.correct).toBe(expected!.sums.correct);
      expectTensors(parameterLayout(trainable.network), found!.sums.gradient, expected!.sums.gradient);
      expectClose(found!.evaluated.logits, expected!.evaluated.logits, 1e-5, "logits");
      expectClose([found!.evaluated.loss], [expected!.evaluated.loss], 1e-5, "loss of evaluation");
      expect(found!.evaluated.correct).toBe(expected!.evaluated.correct);
    },
  );
});
