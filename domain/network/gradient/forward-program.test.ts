import { expect, test } from "vitest";
import { gradientInput } from "../../../test/conformance/engine/inputs.js";
import { nameOf, trainables } from "../../../test/conformance/engine/networks.js";
import { agree, runOnGrain } from "../../../test/support/grain-program.js";
import { referenceSums } from "../../../test/support/reference-training.js";
import { INPUT, type Network } from "../network.js";
import { forwardProgram } from "./forward-program.js";

test.each(trainables.filter(({ batchNorm }) => batchNorm === "FROZEN").map((each) => [nameOf(each), each] as const))(
  "%s: every layer gives what the reference network in float64 gives, dropout nothing",
  (_, trainable) => {
    const input = { ...gradientInput(trainable, { grains: 1, grainRows: 3 }, 7), dropoutMasks: [] };
    const program = forwardProgram(trainable.network);
    const { activations } = runOnGrain(program, trainable, input, 3);
    const expected = referenceSums(trainable, input, 3);
    expect([...activations.keys()]).toEqual(trainable.network.layers.map(({ name }) => name));
    for (const [layer, values] of activations)
      agree(`activation of ${layer}`, values, (expected.activations.get(layer) ?? []).flatMap((row) => [...row]), 1e-12); // prettier-ignore
  },
);

test("a layer that does not lead to the output has an activation too", () => {
  const network: Network = {
    name: "branches",
    inputShape: [4],
    layers: [
      { kind: "relu", name: "aside", inputs: [INPUT] },
      { kind: "sigmoid", name: "logits", inputs: [INPUT] },
    ],
    output: "logits",
  };
  expect([...forwardProgram(network).activations.keys()]).toEqual(["aside", "logits"]);
});
