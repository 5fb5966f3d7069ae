/** Turns a tensor's name in a weights file into graft's `LAYER/kernel`; undefined for a name that is not in this scheme. */
export interface NameMap {
  readonly name: string;
  map(fileName: string): string | undefined;
}

/** graft's own names, which are also those of Keras's current files: `LAYER/kernel`, with an optional `:0`. */
export const plainNames: NameMap = { name: "plain", map: (fileName) => fileName.replace(/:\d+$/, "") };

const kerasParts: readonly (readonly [pattern: RegExp, part: string])[] = [
  [/^(?:W|kernel|uniform\d+)$/, "kernel"],
  [/^(?:b|bias)$/, "bias"],
  [/^depthwise_kernel$/, "depthwise_kernel"],
  [/^gamma$/, "gamma"],
  [/^beta$/, "beta"],
  [/^(?:moving|running)_mean$/, "moving_mean"],
  [/^(?:moving_variance|running_std|running_var)$/, "moving_variance"],
];

/** The names of Keras over the years: `LAYER/kernel:0`, `LAYER/W`, `LAYER/uniform7`, `LAYER/running_std` (which is a variance, whatever its name says). */
const keras: NameMap = {
  name: "Keras",
  map(fileName) {
    const segments = fileName.replace(/:\d+$/, "").split("/");
    const last = segments.pop() ?? "";
    const known = kerasParts.find(([pattern]) => pattern.test(last));
    return known && segments.length > 0 ? `${segments.join("/")}/${known[1]}` : undefined;
  },
};

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

/** All schemes, the most exact first. */
export const nameMaps: readonly NameMap[] = [plainNames, keras, slimMobilenetV2, slimMobilenetV1];
