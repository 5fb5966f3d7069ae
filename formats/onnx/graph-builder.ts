import { create, toBinary } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from "../../proto/gen/third_party/onnx/onnx_pb.js";
import { elementCount, type Shape } from "../../domain/network/network.js";

/** The element types that our graphs use. */
export type ElementType = "float32" | "uint8" | "int32" | "int64";

/** One length of an input or output; a name stands for any length. */
export type Dimension = number | string;

export type Attribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly string: string };

/** The version of the default operator set: old enough for every tool of 2022 and later, new enough for everything we use. */
const opsetVersion = 17;
/** The model format version that belongs to `opsetVersion`. */
const irVersion = 8n;

const dataTypes: Record<ElementType, TensorProto_DataType> = {
  float32: TensorProto_DataType.FLOAT,
  uint8: TensorProto_DataType.UINT8,
  int32: TensorProto_DataType.INT32,
  int64: TensorProto_DataType.INT64,
};

/** See `GraphBuilder.encodeDivided`. */
export interface DividedGraph {
  readonly early: Uint8Array;
  readonly late: Uint8Array;
  /** What `early` gives and `late` takes. */
  readonly crossing: readonly string[];
}

/** Collects the nodes of one ONNX graph; values are known by their names. Equal calls in equal order give equal bytes. */
export class GraphBuilder {
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  readonly #domains = new Set<string>();
  #names = 0;

  input(name: string, type: ElementType, dimensions: readonly Dimension[]): string {
    this.#inputs.push(tensorInfo(name, type, dimensions));
    return name;
  }

  output(name: string, type: ElementType, dimensions: readonly Dimension[]): void {
    this.#outputs.push(tensorInfo(name, type, dimensions));
  }

  /** Declares an output that is a sequence of tensors. */
  sequenceOutput(name: string, type: ElementType): void {
    this.#outputs.push(sequenceInfo(name, type));
  }

  /** Adds a node with one output and returns the output's name, which is made up where none is given. An empty input name leaves an optional input out. */
  node(
    operator: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    output?: string,
    domain = "",
  ): string {
    const name = output ?? `${operator}_${this.#names++}`;
    this.nodeWithOutputs(operator, inputs, [name], attributes, domain);
    return name;
  }

  nodeWithOutputs(
    operator: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = "",
  ): void {
    if (domain !== "") this.#domains.add(domain);
    const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
    this.#nodes.push(
      create(NodeProtoSchema, {
        opType: operator,
        name: `node_${outputs[0] ?? operator}`,
        domain,
        input: [...inputs],
        output: [...outputs],
        attribute,
      }),
    );
  }

  /** A constant float32 tensor. */
  floats(name: string, shape: Shape, data: Float32Array): string {
    if (data.length !== elementCount(shape))
      throw new RangeError(`constant ${name} of shape [${shape.join(", ")}] needs ${elementCount(shape)} values, found ${data.length}`);
    return this.#constant(name, "float32", shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  /** A constant float32 scalar, stored once per value. */
  scalar(value: number): string {
    return this.floats(`scalar_${value}`, [], Float32Array.of(value));
  }

  /** A constant int64 vector, as the standard wants for shapes, axes and indices; stored once per content. */
  integers(values: readonly number[]): string {
    const data = BigInt64Array.from(values, BigInt);
    return this.#constant(`integers_${values.join("_")}`, "int64", [values.length], new Uint8Array(data.buffer));
  }

  /** A constant int32 tensor, for many indices. */
  indices(name: string, shape: Shape, data: Int32Array): string {
    return this.#constant(name, "int32", shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  /** Whether there is a constant of this name already. */
  hasConstant(name: string): boolean {
    return this.#initializers.has(name);
  }

  /** Bytes of the whole model. */
  encode(graphName: string, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
    return this.#encode(graphName, { nodes: this.#nodes, inputs: this.#inputs, outputs: this.#outputs }, metadata);
  }

  /**
   * The graph in two: what depends on constants and the inputs that `isEarly` holds for, and the rest, which takes what it needs of the first as inputs of the same names. All that crosses is float32;
   * its lengths are not written down. The outputs are those of the rest; the first begins with `sentinel`, a sequence.
   */
  encodeDivided(graphName: string, sentinel: string, isEarly: (input: string) => boolean): DividedGraph {
    const early = new Set([...this.#inputs.map(({ name }) => name).filter(isEarly), ...this.#initializers.keys(), ""]);
    const outputs = new Set(this.#outputs.map(({ name }) => name));
    const isNodeEarly = ({ input, output }: NodeProto): boolean =>
      input.every((name) => early.has(name)) && !output.some((name) => outputs.has(name));
    const [first, rest]: [NodeProto[], NodeProto[]] = [[], []];
    for (const node of this.#nodes) {
      const isInFirst = isNodeEarly(node);
      (isInFirst ? first : rest).push(node);
      if (isInFirst) for (const name of node.output) early.add(name);
    }
    const made = new Set(first.flatMap(({ output }) => output));
    const crossing = [...new Set(rest.flatMap(({ input }) => input).filter((name) => made.has(name)))];
    const [example = ""] = crossing;
    const sequence = create(NodeProtoSchema, {
      opType: "SequenceConstruct",
      name: `node_${sentinel}`,
      input: [example],
      output: [sentinel],
    });
    const crossed = crossing.map((name) => tensorInfo(name, "float32", undefined));
    const inputsOf = (nodes: readonly NodeProto[]): ValueInfoProto[] => {
      const used = new Set(nodes.flatMap(({ input }) => input));
      return this.#inputs.filter(({ name }) => used.has(name));
    };
    const of = { nodes: [...first, sequence], inputs: inputsOf(first), outputs: [sequenceInfo(sentinel, "float32"), ...crossed] };
    return {
      crossing,
      early: this.#encode(`${graphName}, first`, of, {}),
      late: this.#encode(graphName, { nodes: rest, inputs: [...inputsOf(rest), ...crossed], outputs: this.#outputs }, {}),
    };
  }

  #encode(
    graphName: string,
    { nodes, inputs, outputs }: { readonly nodes: NodeProto[]; readonly inputs: ValueInfoProto[]; readonly outputs: ValueInfoProto[] },
    metadata: Readonly<Record<string, string>>,
  ): Uint8Array {
    const opsetImport = [
      { domain: "", version: BigInt(opsetVersion) },
      ...[...this.#domains].sort().map((domain) => ({ domain, version: 1n })),
    ];
    const used = new Set(nodes.flatMap(({ input }) => input));
    const model = create(ModelProtoSchema, {
      irVersion,
      opsetImport,
      producerName: "graft",
      metadataProps: Object.keys(metadata)
        .sort()
        .map((key) => ({ key, value: metadata[key] ?? "" })),
      graph: create(GraphProtoSchema, {
        name: graphName,
        node: nodes,
        initializer: [...this.#initializers.values()].filter(
          ({ name }) => used.has(name) || outputs.some((output) => output.name === name),
        ),
        input: inputs,
        output: outputs,
      }),
    });
    return toBinary(ModelProtoSchema, model);
  }

  #constant(name: string, type: ElementType, shape: Shape, rawData: Uint8Array): string {
    if (!this.#initializers.has(name)) {
      this.#initializers.set(name, create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType: dataTypes[type], rawData }));
    }
    return name;
  }
}

function sequenceInfo(name: string, type: ElementType): ValueInfoProto {
  const elemType = { value: { case: "tensorType" as const, value: { elemType: dataTypes[type] } } };
  return create(ValueInfoProtoSchema, { name, type: { value: { case: "sequenceType", value: { elemType } } } });
}

/** Without dimensions, even their number is left open. */
function tensorInfo(name: string, type: ElementType, dimensions: readonly Dimension[] | undefined): ValueInfoProto {
  const dim = dimensions?.map((dimension) =>
    typeof dimension === "number"
      ? { value: { case: "dimValue" as const, value: BigInt(dimension) } }
      : { value: { case: "dimParam" as const, value: dimension } },
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType: dataTypes[type], ...(dim && { shape: { dim } }) } } },
  });
}

function attributeProto(name: string, attribute: Attribute): AttributeProto {
  if ("int" in attribute) return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(attribute.int) });
  if ("ints" in attribute)
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INTS, ints: attribute.ints.map(BigInt) });
  if ("float" in attribute) return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: attribute.float });
  if ("floats" in attribute)
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOATS, floats: [...attribute.floats] });
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.STRING, s: new TextEncoder().encode(attribute.string) });
}
