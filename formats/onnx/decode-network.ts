import { fromBinary } from "@bufbuild/protobuf";
import { CodedError } from "../../domain/errors.js";
import type { Network, Tensor } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { layerShapes } from "../../domain/network/shapes.js";
import {
  ModelProtoSchema,
  TensorProto_DataType,
  type GraphProto,
  type NodeProto,
  type ValueInfoProto,
} from "../../proto/gen/third_party/onnx/onnx_pb.js";
import { readConstant } from "./constant.js";
import { GraphNode, type Layout, type Picture, type Value } from "./graph-node.js";
import { LayerList } from "./layer-list.js";
import { readNode } from "./operators.js";

/** A network out of an ONNX model; its tensors have graft's names and order of axes. */
export interface OnnxModel {
  readonly network: Network;
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** What the graph does to pixels before its first layer; undefined where it takes float32 and does nothing. */
  readonly preprocessing: Preprocessing | undefined;
  /** True where that was written for values from 0 to 1; `preprocessing` is for pixels from 0 to 255 all the same. */
  readonly unitRange: boolean;
}

/** More than any published network has. */
const NODES_MAX = 100_000;

/**
 * Reads an ONNX model of an image network: one input of pictures, NCHW or NHWC, one output, weights inside. Cast, channel order, subtraction and division
 * at its start become the preprocessing. Layers are named after their weights (`layer1.0.conv1.weight`, `conv1/kernel`), else after their node.
 * @param size Height and width where the model leaves them open.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID naming the node and operator.
 */
export function decodeOnnx(bytes: Uint8Array, size?: number): OnnxModel {
  const graph = readGraph(bytes);
  const constants = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  const inputs = graph.input.filter(({ name }) => !constants.has(name));
  const [input, ...otherInputs] = inputs;
  const [output, ...otherOutputs] = graph.output;
  if (!input || !output || otherInputs.length > 0 || otherOutputs.length > 0) {
    throw new CodedError(
      "NETWORK_INVALID",
      `ONNX model: one input and one output are needed, found ${names(inputs)} and ${names(graph.output)}`,
    );
  }

  const { layout, sides, isBytes } = readInput(input, size);
  const values = new Map<string, Value>([[input.name, { kind: "picture", layout, reversed: false, scale: [1, 1, 1], offset: [0, 0, 0] }]]);
  const list = new LayerList([...sides, 3]);
  const valueOf = (name: string): Value | undefined => {
    const known = values.get(name);
    const initializer = constants.get(name);
    if (known !== undefined || initializer === undefined) return known;
    const read: Value = { kind: "constant", constant: readConstant(initializer) };
    values.set(name, read);
    return read;
  };

  for (const proto of nodesFor(graph, output.name)) {
    const node = new GraphNode(
      proto,
      proto.input.map((name) => {
        if (name === "") return undefined;
        const value = valueOf(name);
        if (value === undefined)
          throw new CodedError(
            "NETWORK_INVALID",
            `ONNX model: node "${proto.name}" (${proto.opType}) uses "${name.slice(0, 200)}", which no earlier node makes`,
          );
        return value;
      }),
    );
    if (proto.domain !== "" && proto.domain !== "ai.onnx")
      node.refuse(`operators of the domain ${JSON.stringify(proto.domain.slice(0, 100))} are not supported`);
    values.set(node.output, readNode(list, node));
  }

  const last = values.get(output.name);
  if (last?.kind !== "activation") throw new CodedError("NETWORK_INVALID", `ONNX model: its output "${output.name}" comes out of no layer`);
  if (last.layout === "row" && last.channelsFirst !== undefined)
    throw new CodedError(
      "NETWORK_INVALID",
      `ONNX model: its output "${output.name}" is flattened with the channels first; give the model without its flatten`,
    );
  const network: Network = {
    name: graph.name === "" ? "imported" : graph.name.slice(0, 200),
    inputShape: [...sides, 3],
    layers: list.layers,
    output: last.layer,
  };
  layerShapes(network);
  return { network, tensors: list.tensors, ...preprocessingOf(list.picture, isBytes, sides[0]) };
}

function readGraph(bytes: Uint8Array): GraphProto {
  let graph: GraphProto | undefined;
  try {
    ({ graph } = fromBinary(ModelProtoSchema, bytes));
  } catch (cause) {
    throw new CodedError("FILE_FORMAT_INVALID", "this is no ONNX model, or it was cut off or damaged; get the file again", {}, cause);
  }
  if (graph === undefined || graph.node.length === 0)
    throw new CodedError("FILE_FORMAT_INVALID", "an ONNX model without a graph; get the file again");
  if (graph.node.length > NODES_MAX)
    throw new CodedError("NETWORK_INVALID", `ONNX model: at most ${NODES_MAX} nodes are supported, found ${graph.node.length}`);
  return graph;
}

/** The nodes that the output needs; the file's order is that of computation. */
function nodesFor(graph: GraphProto, output: string): NodeProto[] {
  const needed = new Set([output]);
  const nodes: NodeProto[] = [];
  for (const node of [...graph.node].reverse()) {
    if (!node.output.some((name) => needed.has(name))) continue;
    for (const name of node.input) needed.add(name);
    nodes.push(node);
  }
  return nodes.reverse();
}

function readInput(
  input: ValueInfoProto,
  size: number | undefined,
): { layout: Layout; sides: readonly [number, number]; isBytes: boolean } {
  const refuse = (problem: string): never => {
    throw new CodedError("NETWORK_INVALID", `ONNX model: input "${input.name.slice(0, 200)}" ${problem}`);
  };
  const type = input.type?.value;
  if (type?.case !== "tensorType") return refuse("must be a tensor");
  const { elemType, shape } = type.value;
  if (elemType !== (TensorProto_DataType.FLOAT as number) && elemType !== (TensorProto_DataType.UINT8 as number))
    refuse(`must be float32 or uint8, found ${TensorProto_DataType[elemType] ?? elemType}`);
  const dims = (shape?.dim ?? []).map(({ value }) => (value.case === "dimValue" && value.value > 0n ? Number(value.value) : undefined));
  const layout: Layout = dims[1] === 3 ? "nchw" : "nhwc";
  if (dims.length !== 4 || (layout === "nhwc" && dims[3] !== 3))
    refuse(`must be pictures, [n, 3, height, width] or [n, height, width, 3], found [${dims.map((dim) => dim ?? "?").join(", ")}]`);
  const side = (dim: number | undefined): number =>
    dim ?? size ?? refuse("leaves the size of the pictures open; give one with --preprocessing size");
  const sides: readonly [number, number] = layout === "nchw" ? [side(dims[2]), side(dims[3])] : [side(dims[1]), side(dims[2])];
  return { layout, sides, isBytes: elemType === (TensorProto_DataType.UINT8 as number) };
}

function preprocessingOf(picture: Picture | undefined, isBytes: boolean, size: number): Pick<OnnxModel, "preprocessing" | "unitRange"> {
  if (picture === undefined) return { preprocessing: undefined, unitRange: false };
  const { scale, offset, reversed } = picture;
  const untouched = scale.every((value) => value === 1) && offset.every((value) => value === 0);
  if (untouched && !isBytes) return { preprocessing: undefined, unitRange: false };
  // Whoever subtracts 0.485 and divides by 0.229 has values from 0 to 1 in mind.
  const unitRange = !isBytes && !untouched && scale.every((value) => value >= 1) && offset.every((value, i) => -value <= scale[i]!);
  const range = unitRange ? 255 : 1;
  // Constants are float32: seven digits are what was meant.
  const rounded = (value: number): number => Number(value.toPrecision(7)) + 0;
  const three = (value: (channel: number) => number): [number, number, number] => [rounded(value(0)), rounded(value(1)), rounded(value(2))];
  const preprocessing: Preprocessing = {
    size,
    resize: "STRETCH",
    resizeTo: size,
    channels: reversed ? "BGR" : "RGB",
    mean: three((i) => (-offset[i]! / scale[i]!) * range),
    deviation: three((i) => (1 / scale[i]!) * range),
  };
  return { preprocessing, unitRange };
}

function names(infos: readonly ValueInfoProto[]): string {
  return infos.length === 0
    ? "none"
    : infos
        .slice(0, 5)
        .map(({ name }) => `"${name.slice(0, 100)}"`)
        .join(", ");
}
