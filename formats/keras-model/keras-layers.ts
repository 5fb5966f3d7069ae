import { CodedError } from "../../domain/errors.js";
import { noPadding, samePadding } from "../../domain/network/catalog/same-padding.js";
import type { LayerKind, Padding, Pair, Shape } from "../../domain/network/network.js";
import { asArray, asBoolean, asCount, asCounts, asNumber, asString, type JsonObject } from "../json/json.js";

/** A Keras layer as one or two of ours: what it computes, then its activation. Empty for a layer that changes nothing. */
export type ConvertedLayer = readonly LayerKind[];

/**
 * What a layer of a Keras model computes, out of its `class_name` and `config`.
 * @param input The shape that enters it, by which "same" padding is worked out.
 * @throws CodedError NETWORK_INVALID naming the layer, where a layer or setting is not supported; FILE_FORMAT_INVALID where a field is malformed.
 */
export function convertKerasLayer(className: string, name: string, config: JsonObject, input: Shape): ConvertedLayer {
  const place = `layer "${name}" (${className})`;
  const refuse = (problem: string): never => {
    throw new CodedError("NETWORK_INVALID", `${place}: ${problem}`, { layer: name });
  };
  const only = (field: string, value: unknown, ...allowed: readonly unknown[]): void => {
    if (value !== undefined && value !== null && !allowed.some((one) => JSON.stringify(one) === JSON.stringify(value))) {
      refuse(
        `${field} ${JSON.stringify(value).slice(0, 100)} is not supported, only ${allowed.map((one) => JSON.stringify(one)).join(" or ")}`,
      );
    }
  };
  const pair = (field: string, fallback?: unknown): Pair => {
    const value = config[field] ?? fallback;
    const [height, width, ...more] = typeof value === "number" ? [value, value] : asCounts(value, `${place}: ${field}`);
    if (height === undefined || width === undefined || more.length > 0) return refuse(`${field} must be one number or two`);
    return [height, width];
  };
  const padding = (window: Pair, strides: Pair): Padding => {
    const kind = asString(config["padding"] ?? "valid", `${place}: padding`);
    only("padding", kind, "same", "valid");
    const [height = 0, width = 0] = input;
    return kind === "same" ? samePadding([height, width], window, strides) : noPadding;
  };
  const channelsLast = (axis: unknown): void => only("axis", Array.isArray(axis) ? (axis as unknown[])[0] : axis, -1, input.length);
  const boolean = (field: string, fallback: boolean): boolean => asBoolean(config[field] ?? fallback, `${place}: ${field}`);
  const withActivation = (layer: LayerKind): ConvertedLayer => [layer, ...activationOf(config["activation"], place)];

  only("data_format", config["data_format"], "channels_last");
  switch (className) {
    case "Conv2D":
    case "Convolution2D": {
      only("dilation_rate", config["dilation_rate"], [1, 1], 1);
      only("groups", config["groups"], 1);
      const kernel = pair("kernel_size");
      const strides = pair("strides", [1, 1]);
      const filters = asCount(config["filters"], `${place}: filters`);
      // Of one pixel, which is a vector here, it is a dense layer, and the kernel [1, 1, in, out] is that of one.
      if (input.length === 1 && kernel[0] === 1 && kernel[1] === 1)
        return withActivation({ kind: "dense", units: filters, bias: boolean("use_bias", true) });
      return withActivation({
        kind: "conv2d",
        filters,
        kernel,
        strides,
        padding: padding(kernel, strides),
        bias: boolean("use_bias", true),
      });
    }
    case "DepthwiseConv2D": {
      only("dilation_rate", config["dilation_rate"], [1, 1], 1);
      only("depth_multiplier", config["depth_multiplier"], 1);
      const kernel = pair("kernel_size");
      const strides = pair("strides", [1, 1]);
      return withActivation({
        kind: "depthwiseConv2d",
        kernel,
        strides,
        padding: padding(kernel, strides),
        bias: boolean("use_bias", true),
      });
    }
    case "BatchNormalization": {
      channelsLast(config["axis"]);
      const epsilon = asNumber(config["epsilon"] ?? 1e-3, `${place}: epsilon`);
      return [{ kind: "batchNorm", epsilon, scale: boolean("scale", true), center: boolean("center", true) }];
    }
    case "Activation":
      return activationOf(config["activation"], place);
    case "ReLU":
      only("max_value", config["max_value"], 6);
      only("negative_slope", config["negative_slope"], 0, [0]);
      only("threshold", config["threshold"], 0, [0]);
      return [{ kind: typeof config["max_value"] === "number" ? "relu6" : "relu" }];
    case "Softmax":
      channelsLast(config["axis"]);
      return [{ kind: "softmax" }];
    case "Add":
      return [{ kind: "add" }];
    case "Concatenate":
      channelsLast(config["axis"]);
      return [{ kind: "concat" }];
    case "MaxPooling2D":
    case "AveragePooling2D": {
      const size = pair("pool_size", [2, 2]);
      const strides = pair("strides", size);
      return [{ kind: className === "MaxPooling2D" ? "maxPool" : "averagePool", size, strides, padding: padding(size, strides) }];
    }
    case "GlobalAveragePooling2D":
      // With keepdims it is [1, 1, channels], the same values: a vector here, of which all that may follow is what treats one pixel.
      only("keepdims", config["keepdims"], false, true);
      return [{ kind: "globalAveragePool" }];
    case "ZeroPadding2D":
      return [{ kind: "zeroPad", padding: zeroPadding(config["padding"] ?? 1, place) }];
    case "Flatten":
      return [{ kind: "flatten" }];
    case "Reshape": {
      const [channels] = input;
      if (input.length !== 1) refuse(`only a vector can be reshaped, found [${input.join(", ")}]`);
      only("target_shape", config["target_shape"], [channels], [1, 1, channels], [-1], [1, 1, -1]);
      return [];
    }
    case "Dense":
      return withActivation({ kind: "dense", units: asCount(config["units"], `${place}: units`), bias: boolean("use_bias", true) });
    case "Dropout":
      return [{ kind: "dropout", rate: asNumber(config["rate"], `${place}: rate`) }];
    default:
      return refuse("layers of this class are not supported");
  }
}

function activationOf(activation: unknown, place: string): ConvertedLayer {
  if (activation === undefined || activation === null || activation === "linear") return [];
  if (activation === "relu" || activation === "relu6" || activation === "sigmoid" || activation === "softmax")
    return [{ kind: activation }];
  throw new CodedError("NETWORK_INVALID", `${place}: activation ${JSON.stringify(activation).slice(0, 100)} is not supported`);
}

/** One number, two, or [[top, bottom], [left, right]]. */
function zeroPadding(value: unknown, place: string): Padding {
  if (typeof value === "number") return zeroPadding([value, value], place);
  const sides = asArray(value, `${place}: padding`).map((side) =>
    typeof side === "number" ? [side, side] : asCounts(side, `${place}: padding`),
  );
  const [[top = 0, bottom = 0] = [], [left = 0, right = 0] = []] = sides;
  return { top, bottom, left, right };
}
