import type { Tensor } from "./network.js";

/** How a weights file names its tensors and orders their axes. */
export interface NameMap {
  readonly name: string;
  /** A tensor's name in the file as graft's `LAYER/kernel`; undefined for a name that is not in this scheme. */
  map(fileName: string): string | undefined;
  /** Where the file orders axes in another way: for each axis of graft's tensor, that of the file's. */
  axes?(graftName: string, rank: number): readonly number[] | undefined;
  /** Tensors that files of this scheme hold, but which change no result. */
  ignores?(fileName: string, tensor: Tensor): boolean;
}

/** graft's own names, which are also those of Keras's current files: `LAYER/kernel`, with an optional `:0`. */
export const plainNames: NameMap = { name: "plain", map: (fileName) => fileName.replace(/:\d+$/, "") };

const kerasParts: readonly (readonly [pattern: RegExp, part: string])[] = [
  [/^(?:W(?:_\d+)?|kernel|uniform\d+)$/, "kernel"],
  [/^(?:b(?:_\d+)?|bias)$/, "bias"],
  [/^depthwise_kernel$/, "depthwise_kernel"],
  [/^gamma$/, "gamma"],
  [/^beta$/, "beta"],
  [/^(?:moving|running)_mean$/, "moving_mean"],
  [/^(?:moving_variance|running_std|running_var)$/, "moving_variance"],
];

/** The names of Keras over the years: `LAYER/kernel:0`, `LAYER/W`, `LAYER/W_1`, `LAYER/uniform7`, `LAYER/running_std` (which is a variance, whatever its name says). */
const keras: NameMap = {
  name: "Keras",
  map(fileName) {
    const segments = fileName.replace(/:\d+$/, "").split("/");
    const last = segments.pop() ?? "";
    const known = kerasParts.find(([pattern]) => pattern.test(last));
    return known && segments.length > 0 ? `${segments.join("/")}/${known[1]}` : undefined;
  },
};

/**
 * Layers without names of their own are numbered by Keras, from 1 in the published files of Inception v3, today from 0 (`conv2d`, `conv2d_1`) and on from
 * one model to the next in a program. Here they count from 1, whatever the first is.
 */
function kerasRenumbered(fileNames: Iterable<string>): NameMap {
  const pattern = /^(conv2d|batch_normalization)(?:_(\d+))?(?=\/)/;
  const first = new Map<string, number>();
  for (const fileName of fileNames) {
    const [, kind, number = "0"] = pattern.exec(fileName) ?? [];
    if (kind !== undefined) first.set(kind, Math.min(Number(number), first.get(kind) ?? Infinity));
  }
  return {
    name: "renumbered Keras",
    map: (fileName) =>
      keras.map(fileName)?.replace(pattern, (_, kind: string, number = "0") => `${kind}_${Number(number) - (first.get(kind) ?? 1) + 1}`),
  };
}

/** TF-slim's checkpoint of MobileNetV2, its scopes joined by `/` or `_`, with or without the leading `MobilenetV2`. */
const slimMobilenetV2: NameMap = {
  name: "TF-slim MobileNetV2",
  map(fileName) {
    const name = fileName.replace(/^MobilenetV2[/_]/, "").replaceAll("/", "_");
    const match = /^(.*?)_(weights|depthwise_weights|biases|BatchNorm_(?:gamma|beta|moving_mean|moving_variance))$/.exec(name);
    const scope = match?.[1] ?? "";
    const part = match?.[2] ?? "";
    if (scope === "Logits_Conv2d_1c_1x1") return tensorName("predictions", part);

    const [convolution, norm] = slimV2Layer(scope);
    if (convolution === undefined || norm === undefined) return undefined;
    return part.startsWith("BatchNorm_") ? `${norm}/${part.slice("BatchNorm_".length)}` : tensorName(convolution, part);
  },
};

function slimV2Layer(scope: string): [convolution?: string, norm?: string] {
  if (scope === "Conv") return ["Conv1", "bn_Conv1"];
  if (scope === "Conv_1") return ["Conv_1", "Conv_1_bn"];
  const match = /^expanded_conv(?:_(\d+))?_(expand|depthwise|project)$/.exec(scope);
  if (!match) return [];
  const layer = `${match[1] === undefined ? "expanded_conv" : `block_${match[1]}`}_${match[2]}`;
  return [layer, `${layer}_BN`];
}

/** TF-slim's checkpoint of MobileNetV1, with batch norm or folded, with or without the leading `MobilenetV1`. */
const slimMobilenetV1: NameMap = {
  name: "TF-slim MobileNetV1",
  map(fileName) {
    const name = fileName.replace(/^MobilenetV1\//, "");
    const match = /^(.*)\/(weights|depthwise_weights|biases|BatchNorm\/(?:gamma|beta|moving_mean|moving_variance))$/.exec(name);
    const scope = match?.[1] ?? "";
    const part = match?.[2] ?? "";
    if (scope === "Logits/Conv2d_1c_1x1") return tensorName("conv_preds", part);

    const block = /^Conv2d_(\d+)_(depthwise|pointwise)$/.exec(scope);
    const layer = scope === "Conv2d_0" ? "conv1" : block ? `conv_${block[2] === "depthwise" ? "dw" : "pw"}_${block[1]}` : undefined;
    if (layer === undefined) return undefined;
    if (part.startsWith("BatchNorm/")) return `${layer}_bn/${part.slice("BatchNorm/".length)}`;
    return block?.[2] === "depthwise" && part === "weights" ? `${layer}/depthwise_kernel` : tensorName(layer, part);
  },
};

function tensorName(layer: string, slimPart: string): string {
  const parts: Readonly<Record<string, string>> = { weights: "kernel", depthwise_weights: "depthwise_kernel", biases: "bias" };
  return `${layer}/${parts[slimPart] ?? slimPart}`;
}

/** Convolutions [out, in, h, w] and dense layers [out, in], as PyTorch and MXNet hold them. */
function outputsFirst(graftName: string, rank: number): readonly number[] | undefined {
  if (graftName.endsWith("/depthwise_kernel") && rank === 4) return [2, 3, 0, 1];
  if (!graftName.endsWith("/kernel")) return undefined;
  return rank === 4 ? [2, 3, 1, 0] : rank === 2 ? [1, 0] : undefined;
}

const batchNormParts: Readonly<Record<string, string>> = {
  weight: "gamma",
  bias: "beta",
  gamma: "gamma",
  beta: "beta",
  running_mean: "moving_mean",
  running_var: "moving_variance",
};

/** The state of torchvision's ResNets: `layer1.0.conv1.weight`, `layer1.0.bn1.running_var`, `layer2.0.downsample.0.weight`, `fc.bias`. */
const torchvisionResnet: NameMap = {
  name: "torchvision ResNet",
  map(fileName) {
    const match = /^((?:layer\d+\.\d+\.)?(?:(conv\d+|downsample\.0)|bn\d+|downsample\.1)|fc)\.(weight|bias|running_mean|running_var)$/.exec(
      fileName,
    );
    const [, layer = "", convolution, part = ""] = match ?? [];
    if (layer === "") return undefined;
    if (convolution === undefined && layer !== "fc") return `${layer}/${batchNormParts[part]}`;
    return part === "weight" || part === "bias" ? `${layer}/${part === "weight" ? "kernel" : "bias"}` : undefined;
  },
  axes: outputsFirst,
  // How many batches a batch norm has seen: of use to PyTorch's training only.
  ignores: (fileName) => fileName.endsWith(".num_batches_tracked"),
};

/** The parameters of Gluon's ResNets of version 2: `features.5.0.conv1.weight`, `features.2.gamma`, `output.bias`. */
const gluonResnetV2: NameMap = {
  name: "Gluon ResNet v2",
  map(fileName) {
    const match = /^(features\.\d+(?:\.\d+\.\w+)?|output)\.(?:(weight)|(bias)|(gamma|beta|running_mean|running_var))$/.exec(fileName);
    if (match === null) return undefined;
    const [, layer = "", weight, bias, norm = ""] = match;
    return `${layer}/${weight ? "kernel" : bias ? "bias" : batchNormParts[norm]}`;
  },
  axes: outputsFirst,
  // The batch norm of the pictures has scale and offset in the file, but MXNet takes the scale as 1, and an offset of 0 changes nothing.
  ignores: (fileName, { data }) =>
    fileName === "features.0.gamma" || (fileName === "features.0.beta" && data.every((value) => value === 0)),
};

/** All schemes for a file with these names of tensors, the most exact first. */
export function nameMapsFor(fileNames: Iterable<string>): readonly NameMap[] {
  return [plainNames, keras, kerasRenumbered(fileNames), slimMobilenetV2, slimMobilenetV1, torchvisionResnet, gluonResnetV2];
}
