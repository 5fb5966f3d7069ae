import { CodedError } from "../errors.js";
import { INPUT, type Layer, type Network, type Tensor, type Weights } from "./network.js";

/**
 * The same function without the batch norms that directly follow a convolution or dense layer whose output goes nowhere else: scale and offset move
 * into its kernel and bias. The folded layer keeps its own name and all that named the batch norm, the network's output included, now names it.
 *
 *   s = gamma / sqrt(moving_variance + epsilon)     kernel' = kernel x s     bias' = (bias - moving_mean) x s + beta
 *
 * Computed in float64 and rounded once. Weights that do not change are passed on as they are.
 * @throws CodedError WEIGHTS_INVALID for a missing tensor or a variance that has no root.
 */
export function foldBatchNorm(network: Network, weights: Weights): { readonly network: Network; readonly weights: Weights } {
  const byName = new Map(network.layers.map((layer) => [layer.name, layer]));
  const foldedInto = foldableBatchNorms(network);
  const result = new Map(weights);
  const biased = new Set<string>();
  for (const [normName, targetName] of foldedInto) {
    foldOne(byName.get(normName) as Layer, byName.get(targetName) as Layer, weights, result);
    biased.add(targetName);
  }

  const layers = network.layers
    .filter((layer) => !foldedInto.has(layer.name))
    .map((layer): Layer => {
      const inputs = layer.inputs.map((input) => foldedInto.get(input) ?? input);
      return biased.has(layer.name) && hasKernel(layer) ? { ...layer, inputs, bias: true } : { ...layer, inputs };
    });
  return { network: { ...network, layers, output: foldedInto.get(network.output) ?? network.output }, weights: result };
}

/** The batch norms that can be folded, with the layer that each goes into. */
export function foldableBatchNorms(network: Network): Map<string, string> {
  const byName = new Map(network.layers.map((layer) => [layer.name, layer]));
  const uses = countUses(network);
  const foldedInto = new Map<string, string>();
  for (const layer of network.layers) {
    const before = byName.get(layer.inputs[0] ?? INPUT);
    if (layer.kind === "batchNorm" && before && hasKernel(before) && uses.get(before.name) === 1) foldedInto.set(layer.name, before.name);
  }
  return foldedInto;
}

type KernelLayer = Layer & { readonly kind: "conv2d" | "depthwiseConv2d" | "dense" };

function hasKernel(layer: Layer): layer is KernelLayer {
  return layer.kind === "conv2d" || layer.kind === "depthwiseConv2d" || layer.kind === "dense";
}

/** How often each activation is used; leaving the network is a use. */
function countUses(network: Network): Map<string, number> {
  const uses = new Map<string, number>([[network.output, 1]]);
  for (const layer of network.layers) for (const input of layer.inputs) uses.set(input, (uses.get(input) ?? 0) + 1);
  return uses;
}

function foldOne(norm: Layer, target: Layer, weights: Weights, result: Map<string, Tensor>): void {
  if (norm.kind !== "batchNorm" || !hasKernel(target)) throw new Error(`${norm.name} cannot be folded into ${target.name}`);
  const kernelName = `${target.name}/${target.kind === "depthwiseConv2d" ? "depthwise_kernel" : "kernel"}`;
  const kernel = tensorOf(weights, kernelName);
  const mean = tensorOf(weights, `${norm.name}/moving_mean`).data;
  const variance = tensorOf(weights, `${norm.name}/moving_variance`).data;
  const gamma = norm.scale ? tensorOf(weights, `${norm.name}/gamma`).data : undefined;
  const beta = norm.center ? tensorOf(weights, `${norm.name}/beta`).data : undefined;
  const oldBias = target.bias ? tensorOf(weights, `${target.name}/bias`).data : undefined;

  const channels = mean.length;
  const scales = new Float64Array(channels);
  const bias = new Float32Array(channels);
  for (let channel = 0; channel < channels; channel++) {
    const spread = (variance[channel] ?? Number.NaN) + norm.epsilon;
    if (!(spread > 0)) {
      throw new CodedError(
        "WEIGHTS_INVALID",
        `${norm.name}/moving_variance must be at least 0, found ${variance[channel]} at position ${channel}`,
      );
    }
    const scale = (gamma?.[channel] ?? 1) / Math.sqrt(spread);
    scales[channel] = scale;
    bias[channel] = ((oldBias?.[channel] ?? 0) - (mean[channel] ?? 0)) * scale + (beta?.[channel] ?? 0);
  }

  // The output channel is the innermost axis of every kernel: [.., out], and [h, w, in, 1] of a depthwise one.
  const data = new Float32Array(kernel.data.length);
  for (let index = 0; index < data.length; index++) data[index] = (kernel.data[index] ?? 0) * (scales[index % channels] ?? 0);

  result.set(kernelName, { shape: kernel.shape, data });
  result.set(`${target.name}/bias`, { shape: [channels], data: bias });
  for (const part of ["gamma", "beta", "moving_mean", "moving_variance"]) result.delete(`${norm.name}/${part}`);
}

function tensorOf(weights: Weights, name: string): Tensor {
  const tensor = weights.get(name);
  if (tensor === undefined) throw new CodedError("WEIGHTS_INVALID", `tensor "${name}" is missing`, { missing: [name] });
  return tensor;
}
