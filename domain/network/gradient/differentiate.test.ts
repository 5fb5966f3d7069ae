import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { gradientInput } from "../../../test/conformance/engine/inputs.js";
import { nameOf, trainables } from "../../../test/conformance/engine/networks.js";
import { agree, runOnGrain } from "../../../test/support/grain-program.js";
import { referenceGradient, referenceSums } from "../../../test/support/reference-training.js";
import { parameterLayout } from "../../training/parameters.js";
import { differentiate } from "./differentiate.js";

const grainRows = 3;

describe("every kind of layer, against finite differences of the reference network, in a grain whose last row is padding", () => {
  for (const trainable of trainables) {
    test(nameOf(trainable), () => {
      const { network, batchNorm } = trainable;
      const input = gradientInput(trainable, { grains: 1, grainRows }, 7);
      const program = differentiate(network, { batchNorm });
      const { gradients, activations, moments } = runOnGrain(program, trainable, input, grainRows);

      const expected = referenceSums(trainable, input, grainRows);
      for (const [layer, values] of activations) {
        const rows = expected.activations.get(layer) ?? [];
        // Below a folded batch norm the layer with the kernel gives what the batch norm gives.
        const isFolded = network.layers.some(({ kind, inputs }) => kind === "batchNorm" && inputs[0] === layer) && batchNorm === "FROZEN";
        if (!isFolded) agree(`activation of ${layer}`, values, rows.flatMap((row) => [...row]), 1e-12); // prettier-ignore
      }
      const slopes = referenceGradient(trainable, input, grainRows);
      for (const { name, offset, length } of parameterLayout(network).entries)
        agree(`gradient of ${name}`, gradients.get(name) ?? [], slopes.subarray(offset, offset + length), 1e-7);
      const counted = input.rowWeights.filter((weight) => weight > 0).length;
      agree("statistics", moments.map((value) => value * counted), expected.statistics, 1e-12); // prettier-ignore
      assert.equal(moments.length, batchNorm === "BATCH" ? expected.statistics.length : 0);
    });
  }
});
