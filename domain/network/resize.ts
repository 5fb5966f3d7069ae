import { CodedError } from "../errors.js";
import { equalPaddings, noPadding, samePadding } from "./catalog/same-padding.js";
import { INPUT, type Layer, type Network, type Padding, type Shape } from "./network.js";
import { layerShapes, outputShape } from "./shapes.js";

/**
 * The same network for pictures of another size. Padding that is TensorFlow's "SAME" at the old size is "SAME" at the new one, unless the network pads
 * its strided windows in PyTorch's way, by the same number of rows at any size: where a side is odd both look alike, and the other layers tell.
 * @throws CodedError NETWORK_INVALID where the network cannot take that size: too small for a window, the weights would change their shape, or no layer
 * tells how it pads and that makes a difference.
 */
export function resizeNetwork(network: Network, size: number): Network {
  const [height, width, channels] = network.inputShape;
  if (height === size && width === size) return network;
  if (channels === undefined)
    throw new CodedError("NETWORK_INVALID", `${network.name} takes no pictures, so that it has no size to change`);

  const oldShapes = layerShapes(network);
  const convention = paddingConvention(network, oldShapes);
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
    const resized = hasWindow(layer) ? { ...layer, padding: paddingAt(network, layer, convention, oldInput, newInput) } : layer;
    newShapes.set(layer.name, outputShape(network.name, resized, inputs));
    return resized;
  });
  return { ...network, inputShape: [size, size, channels], layers };
}

type WindowLayer = Layer & { readonly kind: "conv2d" | "depthwiseConv2d" | "maxPool" | "averagePool" };

function hasWindow(layer: Layer): layer is WindowLayer {
  return layer.kind === "conv2d" || layer.kind === "depthwiseConv2d" || layer.kind === "maxPool" || layer.kind === "averagePool";
}

/** What TensorFlow's "SAME" is for a layer's window and this input. */
function sameAt(layer: WindowLayer, [height = 0, width = 0]: Shape): Padding {
  return samePadding([height, width], "size" in layer ? layer.size : layer.kernel, layer.strides);
}

/** How the padded layers with a stride are padded, of which "SAME" depends on the input's size. */
function paddingConvention(network: Network, shapes: ReadonlyMap<string, Shape>): "SAME" | "fixed" | "either" {
  let fixed = false;
  for (const layer of network.layers) {
    if (!hasWindow(layer) || equalPaddings(layer.padding, noPadding)) continue;
    const { top, bottom, left, right } = layer.padding;
    const isSame = equalPaddings(layer.padding, sameAt(layer, shapes.get(layer.inputs[0] ?? INPUT) ?? []));
    if (isSame && (top !== bottom || left !== right)) return "SAME";
    if (!isSame) fixed = true;
  }
  return fixed ? "fixed" : "either";
}

function paddingAt(
  network: Network,
  layer: WindowLayer,
  convention: "SAME" | "fixed" | "either",
  oldInput: Shape,
  newInput: Shape,
): Padding {
  const { padding } = layer;
  const looksSame = equalPaddings(padding, sameAt(layer, oldInput)) && !equalPaddings(padding, noPadding);
  const same = sameAt(layer, newInput);
  if (convention === "fixed" || !looksSame || equalPaddings(padding, same)) return padding;
  if (convention === "SAME") return same;
  throw new CodedError(
    "NETWORK_INVALID",
    `${network.name} at ${newInput[0]} rows in layer "${layer.name}": at ${oldInput[0]} rows it cannot be seen whether its padding of ${padding.top} is TensorFlow's SAME or PyTorch's; add the backbone again with the size that is wanted`,
    { layer: layer.name },
  );
}
