import { CodedError } from "../../domain/errors.js";
import { elementCount, type Shape, type Tensor } from "../../domain/network/network.js";
import { TensorProto_DataLocation, TensorProto_DataType, type TensorProto } from "../../proto/gen/third_party/onnx/onnx_pb.js";
import { widenHalves } from "../safetensors/half-float.js";

/** Numbers of the types that are read, as they stand in the file. */
const types = {
  FLOAT: TensorProto_DataType.FLOAT as number,
  DOUBLE: TensorProto_DataType.DOUBLE as number,
  FLOAT16: TensorProto_DataType.FLOAT16 as number,
  INT64: TensorProto_DataType.INT64 as number,
  INT32: TensorProto_DataType.INT32 as number,
} as const;

/** Values of one tensor: as many as graft's networks may have in one. */
const ELEMENTS_MAX = 1 << 29;

/**
 * A constant of an ONNX graph. Floating-point types become float32, whole numbers stay what they are: they are shapes, axes and indices.
 * @throws CodedError FILE_FORMAT_INVALID naming the tensor.
 */
export function readConstant(proto: TensorProto): Tensor | Integers {
  const { name, dims, dataType, rawData } = proto;
  const refuse = (problem: string): never => {
    throw new CodedError("FILE_FORMAT_INVALID", `ONNX model: constant "${name.slice(0, 200)}" ${problem}`, { tensor: name });
  };
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL)
    refuse(
      "lies in another file; save the model with its weights inside (torch.onnx.export(…, external_data=False), or onnx.save_model(model, path, save_as_external_data=False))",
    );
  const shape = dims.map(Number);
  const count = elementCount(shape);
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0) || count > ELEMENTS_MAX)
    refuse(`has the shape [${shape.join(", ")}], which is no shape or too large`);
  const raw = (width: number): ArrayBuffer => {
    if (rawData.byteLength !== count * width) refuse(`needs ${count * width} bytes, found ${rawData.byteLength}`);
    // A copy, so that the values begin at an address that typed arrays can read.
    return new Uint8Array(rawData).buffer;
  };
  const listed = <T>(values: readonly T[]): readonly T[] => {
    if (values.length !== count) refuse(`needs ${count} values, found ${values.length}`);
    return values;
  };
  const hasRaw = rawData.byteLength > 0;
  switch (dataType) {
    case types.FLOAT:
      return { shape, data: hasRaw ? new Float32Array(raw(4)) : Float32Array.from(listed(proto.floatData)) };
    case types.DOUBLE:
      return { shape, data: Float32Array.from(hasRaw ? new Float64Array(raw(8)) : listed(proto.doubleData)) };
    case types.FLOAT16:
      return { shape, data: widenHalves(hasRaw ? new Uint16Array(raw(2)) : Uint16Array.from(listed(proto.int32Data))) };
    case types.INT64:
      return { shape, integers: Array.from(hasRaw ? new BigInt64Array(raw(8)) : listed(proto.int64Data), Number) };
    case types.INT32:
      return { shape, integers: Array.from(hasRaw ? new Int32Array(raw(4)) : listed(proto.int32Data)) };
    default:
      return refuse(`has the type ${TensorProto_DataType[dataType] ?? dataType}; float32, float64, float16, int64 or int32 is needed`);
  }
}

export interface Integers {
  readonly shape: Shape;
  readonly integers: readonly number[];
}
