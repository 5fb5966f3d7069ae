import { CodedError } from "../../domain/errors.js";
import { elementCount, type Padding, type Pair, type Shape, type Tensor } from "../../domain/network/network.js";
import { noPadding, samePadding } from "../../domain/network/catalog/same-padding.js";
import type { AttributeProto, NodeProto } from "../../proto/gen/third_party/onnx/onnx_pb.js";
import type { Integers } from "./constant.js";

/** What flows along an edge of an ONNX graph while it is read. */
export type Value =
  | { readonly kind: "constant"; readonly constant: Tensor | Integers }
  /** The input before its first layer: in each channel, in their present order, pixel x scale + offset. */
  | {
      readonly kind: "picture";
      readonly layout: Layout;
      readonly reversed: boolean;
      readonly scale: readonly number[];
      readonly offset: readonly number[];
    }
  /** `pooled`: [channels] of ours, [n, channels, 1, 1] or the like there. */
  | { readonly kind: "activation"; readonly layer: string; readonly layout: Layout | "pooled" }
  /** A row; flattened from [height, width, channels] with the channels first, where `channelsFirst` says so. */
  | { readonly kind: "activation"; readonly layer: string; readonly layout: "row"; readonly channelsFirst?: Shape | undefined };

export type Picture = Value & { readonly kind: "picture" };
export type Activation = Value & { readonly kind: "activation" };

/** Order of axes, with n for the batch. */
export type Layout = "nchw" | "nhwc";

/** One node of an ONNX graph, with careful reading of its attributes and inputs. */
export class GraphNode {
  readonly operator: string;
  readonly output: string;
  readonly #proto: NodeProto;
  readonly #inputs: readonly (Value | undefined)[];
  readonly #attributes: ReadonlyMap<string, AttributeProto>;

  constructor(proto: NodeProto, inputs: readonly (Value | undefined)[]) {
    this.operator = proto.opType;
    this.output = proto.output[0] ?? "";
    this.#proto = proto;
    this.#inputs = inputs;
    this.#attributes = new Map(proto.attribute.map((attribute) => [attribute.name, attribute]));
  }

  get name(): string {
    return this.#proto.name;
  }

  get inputs(): readonly (Value | undefined)[] {
    return this.#inputs;
  }

  /** The name of an input in the file. */
  inputName(index: number): string {
    return this.#proto.input[index] ?? "";
  }

  /** @throws CodedError NETWORK_INVALID naming the node. */
  refuse(problem: string): never {
    const name = (this.name || this.output).slice(0, 200);
    throw new CodedError("NETWORK_INVALID", `ONNX model: node "${name}" (${this.operator}): ${problem}`, {
      node: name,
      operator: this.operator,
    });
  }

  attribute(name: string): AttributeProto | undefined {
    return this.#attributes.get(name);
  }

  integer(name: string, fallback: number): number {
    const attribute = this.#attributes.get(name);
    return attribute ? Number(attribute.i) : fallback;
  }

  float(name: string, fallback: number): number {
    return this.#attributes.get(name)?.f ?? fallback;
  }

  integers(name: string): readonly number[] | undefined {
    return this.#attributes.get(name)?.ints.map(Number);
  }

  text(name: string, fallback: string): string {
    const attribute = this.#attributes.get(name);
    return attribute ? new TextDecoder().decode(attribute.s) : fallback;
  }

  /** The one value of an attribute that is supported. */
  only(name: string, value: number, ...others: readonly number[]): void {
    const found = this.integer(name, value);
    if (found !== value && !others.includes(found))
      this.refuse(`${name} ${found} is not supported, only ${[value, ...others].join(" or ")}`);
  }

  value(index: number): Value {
    return this.#inputs[index] ?? this.refuse(`input ${index + 1} is missing`);
  }

  constantAt(index: number): Tensor | Integers | undefined {
    const value = this.#inputs[index];
    if (value === undefined) return undefined;
    return value.kind === "constant" ? value.constant : this.refuse(`input ${index + 1} ("${this.inputName(index)}") must be a constant`);
  }

  floats(index: number): Tensor {
    const constant = this.constantAt(index);
    return constant && "data" in constant ? constant : this.refuse(`input ${index + 1} must be a constant of floating-point numbers`);
  }

  /** Whole numbers from an input of newer operator sets or an attribute of older ones. */
  integersAt(index: number, attribute: string): readonly number[] | undefined {
    const constant = this.constantAt(index);
    if (constant === undefined) return this.integers(attribute);
    return "integers" in constant ? constant.integers : this.refuse(`input ${index + 1} must be a constant of whole numbers`);
  }

  /** A number from an input of newer operator sets or an attribute of older ones. */
  numberAt(index: number, attribute: string, fallback: number): number {
    if (this.constantAt(index) === undefined) return this.float(attribute, fallback);
    const { shape, data } = this.floats(index);
    return elementCount(shape) === 1 ? (data[0] ?? fallback) : this.refuse(`input ${index + 1} must be one number`);
  }

  /** Window, strides and padding of a convolution or pooling over [height, width]. With `ceil_mode` the padding is what a rounded-up output needs. */
  window(kernel: readonly number[], input: Shape): { readonly size: Pair; readonly strides: Pair; readonly padding: Padding } {
    const pair = (what: string, values: readonly number[]): Pair => {
      const [height, width, ...more] = values;
      if (height === undefined || width === undefined || more.length > 0 || !values.every((value) => Number.isInteger(value) && value >= 1))
        return this.refuse(`${what} must be two whole numbers of at least 1, found [${values.join(", ")}]`);
      return [height, width];
    };
    const size = pair("kernel_shape", kernel);
    const strides = pair("strides", this.integers("strides") ?? [1, 1]);
    if (this.integers("dilations")?.some((dilation) => dilation !== 1)) this.refuse("dilations other than 1 are not supported");
    const padding = this.#padding(size, strides, input);
    if (this.integer("ceil_mode", 0) === 0) return { size, strides, padding };
    const [height = 0, width = 0] = input;
    const { top, bottom, left, right } = padding;
    // A last window that would begin behind the input, in its padding, is left out.
    const missing = (before: number, length: number, after: number, axis: 0 | 1): number => {
      const rest = (before + length + after - size[axis]) % strides[axis];
      const start = before + length + after - size[axis] - rest + strides[axis];
      return rest === 0 || start >= before + length ? 0 : strides[axis] - rest;
    };
    const rounded = { top, left, bottom: bottom + missing(top, height, bottom, 0), right: right + missing(left, width, right, 1) };
    return { size, strides, padding: rounded };
  }

  #padding(size: Pair, strides: Pair, [height = 0, width = 0]: Shape): Padding {
    const auto = this.text("auto_pad", "NOTSET");
    const same = samePadding([height, width], size, strides);
    switch (auto) {
      case "VALID":
        return noPadding;
      case "SAME_UPPER":
        return same;
      case "SAME_LOWER":
        return { top: same.bottom, bottom: same.top, left: same.right, right: same.left };
      case "NOTSET":
      case "": {
        const [top = 0, left = 0, bottom = 0, right = 0] = this.integers("pads") ?? [];
        return { top, bottom, left, right };
      }
      default:
        return this.refuse(`auto_pad ${JSON.stringify(auto.slice(0, 50))} is not known`);
    }
  }
}

/** Equal for activations whose values are in the same order. */
export function orderOf(value: Activation): string {
  return value.layout === "row" ? `row ${value.channelsFirst?.join() ?? ""}` : value.layout;
}

/** For messages. */
export function described({ layout }: Activation): string {
  const texts = {
    nchw: "[n, channels, height, width]",
    nhwc: "[n, height, width, channels]",
    pooled: "one value for each channel",
    row: "a row",
  };
  return texts[layout];
}
