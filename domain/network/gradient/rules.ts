import type { LayerKind } from "../network.js";
import { relu, relu6, sigmoid, softmax } from "./activation.js";
import { batchNormFrozen, batchNormOfBatch } from "./batch-norm.js";
import { conv2d, depthwiseConv2d } from "./convolution.js";
import { dense } from "./dense.js";
import { dropout } from "./dropout.js";
import { type KernelKind, type KernelLayer, kernelRule } from "./kernel-layer.js";
import { add, concat } from "./merging.js";
import { averagePool, globalAveragePool, maxPool } from "./pooling.js";
import { flatten, zeroPad } from "./reshaping.js";
import type { LayerRule, OfKind } from "./rule.js";

/** The layers that a batch norm can be folded into. */
export const kernelLayers: { readonly [Kind in KernelKind]: KernelLayer<OfKind<Kind>> } = { conv2d, depthwiseConv2d, dense };

/** One rule for every kind of layer. */
export type LayerRules = { readonly [Kind in LayerKind["kind"]]: LayerRule<OfKind<Kind>> };

const withoutBatchNorm: Omit<LayerRules, "batchNorm"> = {
  conv2d: kernelRule(conv2d),
  depthwiseConv2d: kernelRule(depthwiseConv2d),
  dense: kernelRule(dense),
  relu,
  relu6,
  sigmoid,
  softmax,
  add,
  concat,
  maxPool,
  averagePool,
  globalAveragePool,
  zeroPad,
  flatten,
  dropout,
};

/** What batch norm normalises with: the moving statistics, or those of the batch. */
export const layerRules: Readonly<Record<"FROZEN" | "BATCH", LayerRules>> = {
  FROZEN: { ...withoutBatchNorm, batchNorm: batchNormFrozen },
  BATCH: { ...withoutBatchNorm, batchNorm: batchNormOfBatch },
};
