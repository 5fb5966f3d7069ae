import { INPUT, type Layer, type LayerKind, type Network, type Padding, type Pair, type Shape } from "../network.js";
import { layerShapes, outputShape } from "../shapes.js";
import { noPadding, samePadding } from "./same-padding.js";

export interface Window {
  readonly kernel: Pair;
  readonly stride: number;
  /** TensorFlow's words, or PyTorch's number of rows and columns on every side. */
  readonly padding: "SAME" | "VALID" | number;
}

/** Grows a network layer by layer. It knows the shapes on the way, so that "SAME" can be worked out. Every method returns the new layer's name. */
export class NetworkBuilder {
  readonly #name: string;
  readonly #inputShape: Shape;
  readonly #layers: Layer[] = [];
  readonly #shapes: Map<string, Shape>;

  constructor(name: string, inputShape: Shape) {
    this.#name = name;
    this.#inputShape = inputShape;
    this.#shapes = new Map([[INPUT, inputShape]]);
  }

  add(name: string, kind: LayerKind, ...inputs: readonly string[]): string {
    const layer: Layer = { ...kind, name, inputs };
    const shape = outputShape(
      this.#name,
      layer,
      inputs.map((input) => this.#shapeOf(input)),
    );
    this.#layers.push(layer);
    this.#shapes.set(name, shape);
    return name;
  }

  conv(name: string, input: string, filters: number, window: Window, bias: boolean): string {
    const { kernel, stride } = window;
    return this.add(
      name,
      { kind: "conv2d", filters, kernel, strides: [stride, stride], padding: this.#padding(input, window), bias },
      input,
    );
  }

  depthwise(name: string, input: string, window: Window, bias: boolean): string {
    const { kernel, stride } = window;
    return this.add(
      name,
      { kind: "depthwiseConv2d", kernel, strides: [stride, stride], padding: this.#padding(input, window), bias },
      input,
    );
  }

  pool(name: string, kind: "maxPool" | "averagePool", input: string, window: Window): string {
    const { kernel, stride } = window;
    return this.add(name, { kind, size: kernel, strides: [stride, stride], padding: this.#padding(input, window) }, input);
  }

  /** Channels of an activation. */
  channelsOf(name: string): number {
    return this.#shapeOf(name).at(-1) ?? 0;
  }

  build(output: string): Network {
    const network = { name: this.#name, inputShape: this.#inputShape, layers: this.#layers, output };
    layerShapes(network);
    return network;
  }

  #padding(input: string, window: Window): Padding {
    const { padding } = window;
    if (padding === "VALID") return noPadding;
    if (padding !== "SAME") return { top: padding, bottom: padding, left: padding, right: padding };
    const [height = 0, width = 0] = this.#shapeOf(input);
    return samePadding([height, width], window.kernel, [window.stride, window.stride]);
  }

  #shapeOf(name: string): Shape {
    const shape = this.#shapes.get(name);
    if (shape === undefined) throw new Error(`${this.#name} has no layer ${name} yet`);
    return shape;
  }
}
