import { fromBinary } from "@bufbuild/protobuf";
import { CodedError } from "../../domain/errors.js";
import { ModelProtoSchema, type ModelProto, type ValueInfoProto } from "../../proto/gen/third_party/onnx/onnx_pb.js";
import { pairs, shortened } from "./lines.js";
import { shapeText } from "./tensors.js";

const elementTypes: Readonly<Record<number, string>> = {
  1: "float32",
  2: "uint8",
  3: "int8",
  6: "int32",
  7: "int64",
  9: "bool",
  10: "float16",
  11: "float64",
};

/** ONNX has no magic number: a model begins with its field 1, `ir_version`, and has a graph. */
export function isOnnx(bytes: Uint8Array): boolean {
  return bytes[0] === 0x08 && (bytes[1] ?? 0) >= 3 && (bytes[1] ?? 0) <= 64;
}

export function inspectOnnx(bytes: Uint8Array): string[] {
  const model = readModel(bytes);
  const { graph } = model;
  if (graph === undefined || graph.node.length === 0)
    throw new CodedError("FILE_FORMAT_INVALID", "an ONNX model without a graph; the file is damaged");
  const operators = new Map<string, number>();
  for (const { opType } of graph.node) operators.set(opType, (operators.get(opType) ?? 0) + 1);
  const values = graph.initializer.reduce((total, { dims }) => total + dims.reduce((product, length) => product * Number(length), 1), 0);
  const initial = new Set(graph.initializer.map(({ name }) => name));
  return [
    `ONNX model ${graph.name}`,
    ...pairs([
      ["IR version", String(model.irVersion)],
      ["operator set", model.opsetImport.map(({ domain, version }) => `${domain === "" ? "ai.onnx" : domain} ${version}`).join(", ")],
      ["producer", `${model.producerName} ${model.producerVersion}`.trim() || "not stated"],
      ...graph.input.filter(({ name }) => !initial.has(name)).map((input) => ["input", valueText(input)] as const),
      ...graph.output.map((output) => ["output", valueText(output)] as const),
      ["constants", `${graph.initializer.length} tensors, ${values} values`],
      [
        "operators",
        [...operators]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([name, count]) => `${count} ${name}`)
          .join(", "),
      ],
      ...model.metadataProps.map(({ key, value }) => [key, shortened(value)] as const),
    ]),
  ];
}

function readModel(bytes: Uint8Array): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw new CodedError("FILE_FORMAT_INVALID", "this is no ONNX model, or it was cut off or damaged", {}, cause);
  }
}

function valueText({ name, type }: ValueInfoProto): string {
  if (type?.value.case !== "tensorType") return name;
  const { elemType, shape } = type.value.value;
  const lengths =
    shape?.dim.map(({ value }) => (value.case === "dimValue" ? Number(value.value) : value.case === "dimParam" ? value.value : null)) ?? [];
  return `${name} ${elementTypes[elemType] ?? `type ${elemType}`} ${shapeText(lengths)}`;
}
