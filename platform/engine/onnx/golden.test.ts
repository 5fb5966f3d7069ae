import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { INPUT, type Layer, type LayerKind, type Network } from "../../../domain/network/network.js";
import type { LossSpec } from "../../../domain/training/loss.js";
import { parameterLayout, tensorsOf } from "../../../domain/training/parameters.js";
import { openOnnxEngine } from "./onnx.js";

/** Made by test/golden/gradients.py with JAX in float64. */
interface GoldenCase {
  readonly name: string;
  readonly features: number;
  readonly hidden: readonly number[];
  readonly outputs: number;
  readonly loss: LossSpec["kind"];
  readonly smoothing: number;
  readonly rows: number;
  readonly inputs: {
    readonly features: readonly number[];
    readonly labels: readonly number[];
    readonly rowWeights: readonly number[];
    readonly masks: readonly (readonly number[])[];
  };
  readonly parameters: Readonly<Record<string, readonly number[]>>;
  readonly totalLoss: number;
  readonly gradient: Readonly<Record<string, readonly number[]>>;
}

const file = new URL("../../../test/golden/gradients.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { readonly cases: readonly GoldenCase[] };

test.each(cases)("gradients agree with JAX: $name", async (golden) => {
  const network = networkOf(golden);
  const layout = parameterLayout(network);
  const parameters = new Float32Array(layout.length);
  for (const [name, { data }] of tensorsOf(layout, parameters)) data.set(golden.parameters[name] ?? []);

  const engine = await openOnnxEngine({ threads: 1 });
  const loss: LossSpec = { kind: golden.loss, labelSmoothing: golden.smoothing };
  const gradient = await engine.compileGradient({ network, loss, batchNorm: "FROZEN" }, { grainRows: golden.rows / 2, grains: 2 });
  const sums = await gradient.run({
    parameters,
    statistics: new Float32Array(0),
    features: Float32Array.from(golden.inputs.features),
    labels: Int32Array.from(golden.inputs.labels),
    rowWeights: Float32Array.from(golden.inputs.rowWeights),
    dropoutMasks: golden.inputs.masks.map((mask) => Float32Array.from(mask)),
  });

  expect(Math.abs(sums.loss / golden.totalLoss - 1)).toBeLessThan(1e-6);
  expect(Object.keys(golden.gradient).sort()).toEqual(layout.entries.map(({ name }) => name));
  for (const [name, { data }] of tensorsOf(layout, sums.gradient)) {
    const expected = golden.gradient[name] ?? [];
    const scale = Math.max(...expected.map(Math.abs));
    expected.forEach((value, i) => expect(Math.abs((data[i] ?? NaN) - value), `${name}[${i}]`).toBeLessThanOrEqual(2e-6 * scale));
  }
  await gradient.release();
});

function networkOf({ features, hidden, outputs }: GoldenCase): Network {
  const kinds = hidden.flatMap((units, i): (LayerKind & { name: string })[] => [
    { kind: "dropout", rate: 0.5, name: `dropout_${i}` },
    { kind: "dense", units, bias: true, name: `hidden_${i}` },
    { kind: "relu", name: `relu_${i}` },
  ]);
  kinds.push({ kind: "dense", units: outputs, bias: true, name: "output" });
  const layers = kinds.map((kind, i): Layer => ({ ...kind, inputs: [kinds[i - 1]?.name ?? INPUT] }));
  return { name: "golden", inputShape: [features], layers, output: "output" };
}
