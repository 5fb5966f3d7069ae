import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import { CodedError } from "../../domain/errors.js";
import { elementCount, type Shape, type Tensor } from "../../domain/network/network.js";
import { isObject, type JsonObject } from "../json/json.js";
import { widenBrainFloats, widenHalves } from "./half-float.js";

/** What a safetensors file holds: tensors, all as float32, and the strings of `__metadata__`. */
export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** Bounds of an untrusted file; the reference implementation has the same bound on the header. */
const bounds = { headerBytes: 100_000_000, tensors: 100_000, nameLength: 1_000, rank: 8 } as const;

const dtypes = { F32: 4, F16: 2, BF16: 2, I64: 8 } as const;
type Dtype = keyof typeof dtypes;

interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: Shape;
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads a safetensors file (https://github.com/huggingface/safetensors#format). F16 and BF16 are widened to float32, I64 (the counters of PyTorch) is rounded to it; other types are refused.
 * Every byte of the file must belong to exactly one tensor, as the format demands.
 * @throws CodedError FILE_FORMAT_INVALID.
 */
export function decodeSafetensors(bytes: Uint8Array): SafetensorsFile {
  const { header, bodyStart } = readHeader(bytes);
  const metadata = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") {
      for (const [key, text] of Object.entries(isObject(value) ? value : refuse("__metadata__ must be an object"))) {
        metadata.set(key, typeof text === "string" ? text : refuse(`__metadata__.${key} must be a string, found ${describe(text)}`));
      }
    } else {
      entries.push(readEntry(name, value));
    }
  }
  if (entries.length > bounds.tensors) refuse(`at most ${bounds.tensors} tensors are allowed, found ${entries.length}`);

  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let expected = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== expected) refuse(`tensor "${name}" must begin at byte ${expected}, where the one before it ends, found ${begin}`);
    expected = end;
  }
  if (bodyStart + expected !== bytes.byteLength) {
    refuse(
      `the header describes ${bodyStart + expected} bytes, but the file has ${bytes.byteLength}; it may have been cut short, fetch it again`,
    );
  }

  const tensors = new Map(
    entries.map(({ name, dtype, shape, begin, end }) => [
      name,
      { shape, data: widen(dtype, new Uint8Array(bytes.subarray(bodyStart + begin, bodyStart + end)).buffer) },
    ]),
  );
  return { tensors, metadata };
}

/** Writes float32 tensors in the order of their names' UTF-8 bytes, the data aligned to 8 bytes. Equal values give equal files. */
export function encodeSafetensors(tensors: ReadonlyMap<string, Tensor>, metadata: ReadonlyMap<string, string> = new Map()): Uint8Array {
  const names = [...tensors.keys()].sort(compareUtf8);
  const header: [string, unknown][] = [];
  if (metadata.size > 0) header.push(["__metadata__", Object.fromEntries([...metadata].sort(([a], [b]) => (a < b ? -1 : 1)))]);
  let offset = 0;
  for (const name of names) {
    const { shape, data } = tensors.get(name) as Tensor;
    if (elementCount(shape) !== data.length)
      throw new Error(`tensor "${name}": shape [${shape.join(", ")}] does not hold ${data.length} values`);
    header.push([name, { dtype: "F32", shape, data_offsets: [offset, offset + data.byteLength] }]);
    offset += data.byteLength;
  }

  // Written entry by entry: an object would sort names that look like numbers first.
  const json = Buffer.from(`{${header.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`);
  const headerBytes = Math.ceil(json.byteLength / 8) * 8;
  const file = new Uint8Array(8 + headerBytes + offset).fill(0x20, 8, 8 + headerBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.set(json, 8);
  let position = 8 + headerBytes;
  for (const name of names) {
    const { data } = tensors.get(name) as Tensor;
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), position);
    position += data.byteLength;
  }
  return file;
}

function readHeader(bytes: Uint8Array): { header: JsonObject; bodyStart: number } {
  if (bytes.byteLength < 8) refuse(`a file has at least 8 bytes, found ${bytes.byteLength}`);
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(0, true);
  if (length > BigInt(bounds.headerBytes) || 8 + Number(length) > bytes.byteLength) {
    refuse(`its header claims ${length} bytes, but the whole file has ${bytes.byteLength}; it is no safetensors file or was cut short`);
  }
  const bodyStart = 8 + Number(length);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, bodyStart)));
  } catch (cause) {
    refuse("its header is no JSON", cause);
  }
  return { header: isObject(header) ? header : refuse(`its header must be an object, found ${describe(header)}`), bodyStart };
}

function readEntry(name: string, value: unknown): Entry {
  const shown = JSON.stringify(name.slice(0, 100));
  if (name === "" || name.length > bounds.nameLength) refuse(`tensor names must have 1 to ${bounds.nameLength} characters, found ${shown}`);
  if (!isObject(value)) refuse(`tensor ${shown} must be an object, found ${describe(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(dtypes, dtype)) {
    refuse(`tensor ${shown} must have a type of ${Object.keys(dtypes).join(", ")}, found ${describe(dtype)}; convert it to float32`);
  }
  if (!isCounts(shape) || shape.length > bounds.rank)
    refuse(`tensor ${shown} must have a shape of at most ${bounds.rank} lengths, found ${describe(shape)}`);
  if (!isCounts(offsets) || offsets.length !== 2) refuse(`tensor ${shown} must have two data_offsets, found ${describe(offsets)}`);
  const [begin, end] = offsets as [number, number];
  const expected = elementCount(shape) * dtypes[dtype as Dtype];
  if (end - begin !== expected)
    refuse(`tensor ${shown} of ${dtype} [${shape.join(", ")}] must have ${expected} bytes, found ${end - begin}`);
  return { name, dtype: dtype as Dtype, shape, begin, end };
}

/** `buffer` is a copy of the tensor's bytes, so that it begins at an address that typed arrays can read. */
function widen(dtype: Dtype, buffer: ArrayBuffer): Float32Array {
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "I64") return Float32Array.from(new BigInt64Array(buffer), Number);
  const halves = new Uint16Array(buffer);
  return dtype === "F16" ? widenHalves(halves) : widenBrainFloats(halves);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

function describe(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 100);
}

function refuse(problem: string, cause?: unknown): never {
  throw new CodedError("FILE_FORMAT_INVALID", `safetensors: ${problem}`, {}, cause);
}
