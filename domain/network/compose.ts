import { CodedError } from "../errors.js";
import type { HeadLayer } from "../job/job.js";
import { INPUT, type Layer, type LayerKind, type Network, type Shape } from "./network.js";
import { layerShapes, sameShape } from "./shapes.js";

/**
 * The new layers on top of a cut, ending in logits `head/output [outputs]`: `head/flatten` where the input is no vector, then
 * `head/dense_N` with `head/relu_N` and `head/dropout_N`, each kind numbered from 1.
 * @throws CodedError NETWORK_INVALID naming the layer.
 */
export function headNetwork(inputShape: Shape, layers: readonly HeadLayer[], outputs: number): Network {
  const built: Layer[] = [];
  const add = (name: string, layer: LayerKind): void => {
    built.push({ ...layer, name: `head/${name}`, inputs: [built.at(-1)?.name ?? INPUT] });
  };

  if (inputShape.length > 1) add("flatten", { kind: "flatten" });
  let denseCount = 0;
  let dropoutCount = 0;
  for (const layer of layers) {
    if (layer.kind === "dropout") {
      add(`dropout_${++dropoutCount}`, { kind: "dropout", rate: layer.rate });
    } else {
      add(`dense_${++denseCount}`, { kind: "dense", units: layer.units, bias: true });
      if (layer.activation === "RELU") add(`relu_${denseCount}`, { kind: "relu" });
    }
  }
  add("output", { kind: "dense", units: outputs, bias: true });

  const head: Network = { name: "head", inputShape, layers: built, output: "head/output" };
  layerShapes(head);
  return head;
}

/**
 * One network that computes `second` on what `first` gives; layers keep their names. Without `first` it is `second` itself.
 * @throws CodedError NETWORK_INVALID where the shapes do not fit or both have a layer of one name.
 */
export function appendNetwork(first: Network | undefined, second: Network): Network {
  if (first === undefined) return second;
  const given = layerShapes(first).get(first.output) ?? [];
  if (!sameShape(given, second.inputShape)) {
    throw new CodedError(
      "NETWORK_INVALID",
      `${second.name} takes [${second.inputShape.join(", ")}], but ${first.name} ends in "${first.output}" with [${given.join(", ")}]`,
    );
  }
  const joined: Network = {
    name: first.name,
    inputShape: first.inputShape,
    layers: [
      ...first.layers,
      ...second.layers.map((layer): Layer => ({ ...layer, inputs: layer.inputs.map((input) => (input === INPUT ? first.output : input)) })),
    ],
    output: second.output === INPUT ? first.output : second.output,
  };
  layerShapes(joined);
  return joined;
}
