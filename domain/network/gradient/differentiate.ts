import { strict as assert } from "node:assert";
import { foldableBatchNorms } from "../fold-batch-norm.js";
import { INPUT, type Layer, type Network } from "../network.js";
import { layerShapes, weightSpecs } from "../shapes.js";
import { LayerBuilder, type NetworkShapes } from "./builder.js";
import { withoutDeadOperations } from "./dead-operations.js";
import { foldedPass, foldedPassOfBatch } from "./folded-batch-norm.js";
import type { KernelKind, KernelLayer } from "./kernel-layer.js";
import type { GradientProgram, Operation, Value } from "./program.js";
import type { LayerInputs, LayerRule, Moments, OfKind } from "./rule.js";
import { kernelLayers, layerRules } from "./rules.js";

export interface DifferentiateOptions {
  /** What batch norm layers normalise with: the moving statistics, or mean and variance of the batch. */
  readonly batchNorm: "FROZEN" | "BATCH";
}

/**
 * Reverse-mode differentiation: the layers' forward operations from the first to the last, then, from the last to the first, the gradient of each layer's output becomes those of its inputs and
 * parameters. An activation that is used more than once gets the sum of the gradients of its uses, added from the last use to the first.
 * @throws CodedError NETWORK_INVALID naming the layer.
 */
export function differentiate(network: Network, { batchNorm }: DifferentiateOptions): GradientProgram {
  const shapes: NetworkShapes = {
    layers: layerShapes(network),
    weights: new Map(weightSpecs(network).map(({ name, shape }) => [name, shape])),
  };
  const operations: Operation[] = [];
  const builderOf = (layer: string): LayerBuilder => new LayerBuilder(layer, operations, shapes);

  // 1. The forward pass.
  const steps = withFoldedNorms(network);
  const activations = new Map<string, Value>([[INPUT, builderOf(INPUT).output({ kind: "features" }, [])]]);
  const moments = new Map<string, Moments>();
  const passes = steps.map((step) => {
    const [first, ...others] = step.layer.inputs.map((name) => valueOf(activations, name));
    assert(first !== undefined);
    const pass = runStep(step, [first, ...others], batchNorm, builderOf);
    activations.set(step.layer.name, pass.inner ?? pass.output);
    if (step.norm) activations.set(step.norm.name, pass.output);
    if (pass.moments) moments.set((step.norm ?? step.layer).name, pass.moments);
    return { step, pass };
  });
  const forward = operations.length;
  const output = valueOf(activations, network.output);

  // 2. The backward pass.
  const dy = builderOf(network.output).output({ kind: "outputGradient" }, []);
  const unfinished = new Map([[network.output, dy]]);
  const gradients = new Map<string, Value>();
  for (const { step, pass } of passes.reverse()) {
    const gradient = unfinished.get((step.norm ?? step.layer).name);
    if (gradient === undefined) continue; // it does not lead to the output
    const found = pass.backward(gradient);
    for (const [name, value] of Object.entries(found.parameters)) gradients.set(name, value);
    step.layer.inputs.forEach((name, i) => {
      const value = found.inputs[i];
      assert(value !== undefined);
      const other = unfinished.get(name);
      unfinished.set(name, other === undefined ? value : builderOf(name).activation({ kind: "add" }, [other, value]));
    });
  }

  // 3. Gradients that lead to no parameter are dead, and so is all that only they need.
  activations.delete(INPUT);
  return withoutDeadOperations({ name: network.name, operations, forward, output, activations, gradients, moments });
}

/** A layer, with the batch norm that is folded into it. */
interface Step {
  readonly layer: Layer;
  readonly norm?: OfKind<"batchNorm"> | undefined;
}

interface StepPass {
  /** What the layer gives, where a batch norm that is folded into it gives the output. */
  readonly inner?: Value | undefined;
  readonly output: Value;
  readonly moments?: Moments | undefined;
  /** Parameters by their full names. */
  readonly backward: (dy: Value) => { readonly inputs: readonly Value[]; readonly parameters: Readonly<Record<string, Value>> };
}

function withFoldedNorms(network: Network): Step[] {
  const foldedInto = foldableBatchNorms(network);
  const normOf = new Map<string, OfKind<"batchNorm">>();
  for (const layer of network.layers) {
    const target = foldedInto.get(layer.name);
    if (target !== undefined && layer.kind === "batchNorm") normOf.set(target, layer);
  }
  return network.layers.filter(({ name }) => !foldedInto.has(name)).map((layer) => ({ layer, norm: normOf.get(layer.name) }));
}

function runStep(
  { layer, norm }: Step,
  inputs: LayerInputs,
  batchNorm: DifferentiateOptions["batchNorm"],
  builderOf: (layer: string) => LayerBuilder,
): StepPass {
  if (norm === undefined) {
    const rule = layerRules[batchNorm][layer.kind] as LayerRule<Layer>;
    const { output, moments, backward } = rule(layer, inputs, builderOf(layer.name));
    return {
      output,
      moments,
      backward: (dy) => {
        const { inputs: gradients, parameters = {} } = backward(dy);
        return { inputs: gradients, parameters: named(layer.name, parameters) };
      },
    };
  }
  const kernelLayer = kernelLayers[layer.kind as KernelKind] as KernelLayer<OfKind<KernelKind>>;
  const fold = batchNorm === "FROZEN" ? foldedPass : foldedPassOfBatch;
  const { inner, output, moments, backward } = fold(kernelLayer, layer as OfKind<KernelKind>, norm, inputs[0], builderOf(layer.name), builderOf(norm.name)); // prettier-ignore
  return {
    inner,
    output,
    moments,
    backward: (dy) => {
      const gradients = backward(dy);
      const parameters = { ...named(layer.name, gradients.kernelLayer), ...named(norm.name, gradients.batchNorm) };
      return { inputs: [gradients.dx], parameters };
    },
  };
}

function named(layer: string, parameters: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [`${layer}/${name}`, value]));
}

function valueOf(values: ReadonlyMap<string, Value>, name: string): Value {
  const value = values.get(name);
  assert(value !== undefined, `no value named ${name}`);
  return value;
}
