import { strict as assert } from "node:assert";
import { INPUT, type Network } from "../../../domain/network/network.js";
import { weightSpecs } from "../../../domain/network/shapes.js";
import type { Kernels, Value } from "./kernels.js";
import type { LayerRun } from "./layer-run.js";
import { runLayer } from "./layers.js";

/** What a pass through a network is given besides its input. */
export interface PassOptions {
  /** Weights by name, `LAYER/kernel` and so on, moving statistics included. They belong to the caller. */
  readonly weights: ReadonlyMap<string, Value>;
  readonly onGpu: boolean;
  /** In training: dropout masks by layer name. */
  readonly masks?: ReadonlyMap<string, Value> | undefined;
  /** In training with statistics of the batch: takes mean and variance (with Bessel's correction) of a batch norm layer; they are freed afterwards. */
  readonly batchStatistics?: ((layer: string, mean: Value, variance: Value) => void) | undefined;
  /** Sees every layer's output before it may be freed. */
  readonly inspect?: ((layer: string, output: Value) => void) | undefined;
}

/** Runs the network on `input`, which is freed. Only the output is left. */
export function infer(kernels: Kernels, network: Network, input: Value, options: PassOptions): Value {
  return forward(kernels, network, input, options, ({ run }) => {
    for (const value of run.temporary) kernels.release(value);
  });
}

/**
 * The gradient of a loss by reverse-mode automatic differentiation: every layer is run and recorded; then, from the last to the first, the gradient of its output becomes those of its inputs
 * and weights. `lossGradient` gives the gradient of the output, and `take` takes that of each weight; both belong to the callee only while it runs. `input` is freed.
 */
export function differentiate(
  kernels: Kernels,
  network: Network,
  input: Value,
  options: PassOptions,
  lossGradient: (output: Value) => Value,
  take: (weight: string, gradient: Value) => void,
): void {
  const record: Step[] = [];
  const output = forward(kernels, network, input, options, (step) => {
    for (const value of step.run.saved) kernels.hold(value);
    for (const value of step.run.temporary) kernels.release(value);
    record.push(step);
  });

  const aboveWeights = layersAboveWeights(network);
  const gradients = new Map<string, Value>([[network.output, lossGradient(output)]]);
  kernels.release(output);
  for (const { layer, run } of record.reverse()) {
    const gradient = gradients.get(layer.name);
    gradients.delete(layer.name);
    if (gradient !== undefined) {
      // Gradients of inputs are left out where nothing below has weights; of a layer with several inputs some may be superfluous.
      const found = run.backward(gradient, layer.inputs.some((name) => aboveWeights.has(name))); // prettier-ignore
      kernels.release(gradient);
      found.inputs.forEach((value, i) => {
        const name = layer.inputs[i];
        assert(name !== undefined);
        if (!aboveWeights.has(name)) return kernels.release(value);
        const other = gradients.get(name);
        gradients.set(name, other === undefined ? value : kernels.one("AddV2", { T: { type: "float32" } }, [other, value], [other, value]));
      });
      for (const [name, value] of Object.entries(found.weights)) {
        take(`${layer.name}/${name}`, value);
        kernels.release(value);
      }
    }
    for (const value of run.saved) kernels.release(value);
  }
}

interface Step {
  readonly layer: Network["layers"][number];
  readonly run: LayerRun;
}

/** Runs layer after layer and frees each output after its last use; returns the network's. */
function forward(kernels: Kernels, network: Network, input: Value, options: PassOptions, ran: (step: Step) => void): Value {
  const uses = new Map([[network.output, 1]]);
  for (const { inputs } of network.layers) for (const name of inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  const values = new Map([[INPUT, input]]);
  const used = (name: string, times: number): void => {
    const left = (uses.get(name) ?? 0) - times;
    uses.set(name, left);
    if (left <= 0) kernels.release(valueOf(values, name));
  };

  for (const layer of network.layers) {
    const { batchStatistics } = options;
    const run = runLayer(layer, layer.inputs.map((name) => valueOf(values, name)), {
      kernels,
      weight: (name) => valueOf(options.weights, `${layer.name}/${name}`),
      mask: options.masks?.get(layer.name),
      batchStatistics: batchStatistics && ((mean, variance) => batchStatistics(layer.name, mean, variance)),
      onGpu: options.onGpu,
    }); // prettier-ignore
    values.set(layer.name, run.output);
    ran({ layer, run });
    options.inspect?.(layer.name, run.output);
    for (const name of layer.inputs) used(name, 1);
    used(layer.name, 0); // an output that nothing uses
  }
  return valueOf(values, network.output);
}

/** The layers that have weights or stand above one that has: those whose gradient is of use. */
function layersAboveWeights(network: Network): Set<string> {
  const withWeights = new Set(weightSpecs(network).map(({ name }) => name.slice(0, name.lastIndexOf("/"))));
  const above = new Set<string>();
  for (const { name, inputs } of network.layers) if (withWeights.has(name) || inputs.some((input) => above.has(input))) above.add(name);
  return above;
}

function valueOf(values: ReadonlyMap<string, Value>, name: string): Value {
  const value = values.get(name);
  assert(value !== undefined, `no value named ${name}`);
  return value;
}
