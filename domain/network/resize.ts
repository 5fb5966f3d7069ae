import { CodedError } from "../errors.js";
import { equalPaddings, noPadding, samePadding } from "./catalog/same-padding.js";
import { INPUT, type Layer, type Network, type Padding, type Pair, type Shape } from "./network.js";
import { layerShapes, outputShape } from "./shapes.js";

/**
 * The same network for pictures of another size. Padding that is TensorFlow's "SAME" at the old size is "SAME" at the new one.
 * @throws CodedError NETWORK_INVALID where the network cannot take that size: too small for a window, or the weights would change their shape.
 */
export function resizeNetwork(network: Network, size: number): Network {
  const [height, width, channels] = network.inputShape;
  if (height === size && width === size) return network;
  if (channels === undefined)
    throw new CodedError("NETWORK_INVALID", `${network.name} takes no pictures, so that it has no size to change`);

  const oldShapes = layerShapes(network);
  const newShapes = new Map<string, Shape>([[INPUT, [size, size, channels]]]);
  const layers = network.layers.map((layer): Layer => {
    const oldInput = oldShapes.get(layer.inputs[0] ?? INPUT) ?? [];
    const inputs = layer.inputs.map((input) => newShapes.get(input) ?? []);
    const newInput = inputs[0] ?? [];
    if (layer.kind === "dense" && oldInput[0] !== newInput[0]) {
      throw new CodedError(
        "NETWORK_INVALID",
        `${network.name} at ${size} pixels: layer "${layer.name}" has weights for ${oldInput[0]} inputs and would get ${newInput[0]}; use the size ${height}`,
        { layer: layer.name },
      );
    }
    const resized = repad(layer, oldInput, newInput);
    newShapes.set(layer.name, outputShape(network.name, resized, inputs));
    return resized;
  });
  return { ...network, inputShape: [size, size, channels], layers };
}

function repad(layer: Layer, oldInput: Shape, newInput: Shape): Layer {
  switch (layer.kind) {
    case "conv2d":
    case "depthwiseConv2d":
      return { ...layer, padding: paddingAt(layer.kernel, layer.strides, layer.padding, oldInput, newInput) };
    case "maxPool":
    case "averagePool":
      return { ...layer, padding: paddingAt(layer.size, layer.strides, layer.padding, oldInput, newInput) };
    default:
      return layer;
  }
}

function paddingAt(window: Pair, strides: Pair, padding: Padding, oldInput: Shape, newInput: Shape): Padding {
  const sizeOf = ([height = 0, width = 0]: Shape): Pair => [height, width];
  const wasSame = equalPaddings(padding, samePadding(sizeOf(oldInput), window, strides)) && !equalPaddings(padding, noPadding);
  return wasSame ? samePadding(sizeOf(newInput), window, strides) : padding;
}
