import { INPUT, type Layer, type LayerKind, type Shape, type Tensor } from "../../domain/network/network.js";
import { outputShape } from "../../domain/network/shapes.js";
import { described, type Activation, type GraphNode, type Picture } from "./graph-node.js";

/** The layers and tensors that the nodes of a graph were read as, so far. */
export class LayerList {
  readonly layers: Layer[] = [];
  readonly tensors = new Map<string, Tensor>();
  /** How pictures enter the first layer. */
  picture: Picture | undefined;
  readonly #shapes: Map<string, Shape>;

  constructor(inputShape: Shape) {
    this.#shapes = new Map([[INPUT, inputShape]]);
  }

  /** An input that is an activation; the picture becomes one where its first layer takes it. */
  activation(node: GraphNode, index = 0): Activation {
    const value = node.value(index);
    if (value.kind === "constant") return node.refuse(`input ${index + 1} must be no constant`);
    if (value.kind === "activation") return value;
    if (this.picture !== undefined && JSON.stringify({ ...this.picture, layout: "" }) !== JSON.stringify({ ...value, layout: "" }))
      node.refuse("pictures enter the network prepared in two different ways, which is not supported");
    this.picture ??= value;
    return { kind: "activation", layer: INPUT, layout: value.layout };
  }

  image(node: GraphNode): Activation {
    const value = this.activation(node);
    return value.layout === "nchw" ? value : node.refuse(`it needs [n, channels, height, width], but its input is ${described(value)}`);
  }

  shapeOf({ layer }: Activation): Shape {
    return this.#shapes.get(layer) ?? [];
  }

  push(node: GraphNode, kind: LayerKind, inputs: readonly string[], name: string, tensors: Readonly<Record<string, Tensor>> = {}): string {
    const layer: Layer = { ...kind, name: this.#newName(name), inputs };
    this.#shapes.set(
      layer.name,
      outputShape(
        `of node "${node.name || node.output}"`,
        layer,
        inputs.map((input) => this.#shapes.get(input) ?? []),
      ),
    );
    this.layers.push(layer);
    for (const [part, tensor] of Object.entries(tensors)) this.tensors.set(`${layer.name}/${part}`, tensor);
    return layer.name;
  }

  #newName(wanted: string): string {
    const clean =
      wanted
        .replace(/[^A-Za-z0-9_./-]+/g, "_")
        .replace(/^[^A-Za-z0-9]+/, "")
        .slice(0, 180) || "layer";
    let name = clean;
    for (let i = 1; this.#shapes.has(name); i++) name = `${clean}_${i}`;
    return name;
  }
}
