import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { decodeSafetensors, encodeSafetensors } from "./safetensors.js";

const tensors = new Map([
  ["b/kernel", { shape: [2, 2], data: Float32Array.of(1, -2.5, 3e-20, 4) }],
  ["1", { shape: [], data: Float32Array.of(7) }],
  ["a", { shape: [0], data: new Float32Array() }],
]);

function file(header: unknown, body: Uint8Array = new Uint8Array()): Uint8Array {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + body.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(body, 8 + json.length);
  return bytes;
}

function refused(bytes: Uint8Array, pattern: RegExp): void {
  assert.throws(
    () => decodeSafetensors(bytes),
    (error) => error instanceof CodedError && error.code === "FILE_FORMAT_INVALID" && pattern.test(error.message),
  );
}

test("what is written is read back, and the bytes do not depend on the order of the map", () => {
  const bytes = encodeSafetensors(tensors, new Map([["source", "ü"]]));
  const back = decodeSafetensors(bytes);
  assert.deepEqual([...back.tensors.keys()].sort(), ["1", "a", "b/kernel"]);
  for (const [name, tensor] of tensors) assert.deepEqual(back.tensors.get(name), tensor);
  assert.deepEqual([...back.metadata], [["source", "ü"]]);
  assert.deepEqual(encodeSafetensors(new Map([...tensors].reverse()), new Map([["source", "ü"]])), bytes);
  assert.equal((8 + Number(new DataView(bytes.buffer).getBigUint64(0, true))) % 8, 0);
});

test("a file at an odd address of a larger buffer is read", () => {
  const bytes = encodeSafetensors(tensors);
  const shifted = Buffer.alloc(bytes.length + 3);
  shifted.set(bytes, 3);
  assert.deepEqual(decodeSafetensors(shifted.subarray(3)).tensors.get("b/kernel"), tensors.get("b/kernel"));
});

test("half and bfloat16 values are widened exactly", () => {
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0x8000);
  const read = (dtype: string): Float32Array | undefined =>
    decodeSafetensors(file({ x: { dtype, shape: [7], data_offsets: [0, 14] } }, new Uint8Array(halves.buffer))).tensors.get("x")?.data;
  assert.deepEqual(read("F16"), Float32Array.of(1, -2, 2 ** -24, 1023 * 2 ** -24, 65504, Infinity, -0));
  assert.deepEqual(read("BF16")?.[0], 0.0078125);
});

test("the counters of PyTorch are read as numbers", () => {
  const counts = new Uint8Array(BigInt64Array.of(0n, 100_000n).buffer);
  const { tensors: read } = decodeSafetensors(file({ x: { dtype: "I64", shape: [2], data_offsets: [0, 16] } }, counts));
  assert.deepEqual(read.get("x")?.data, Float32Array.of(0, 100_000));
});

test("every lie of an untrusted file is refused and named", () => {
  const four = new Uint8Array(4);
  refused(new Uint8Array(3), /at least 8 bytes/);
  refused(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 0), /claims 18446744073709551615 bytes/);
  refused(file("{"), /no JSON/);
  refused(file("[]"), /must be an object/);
  refused(file({ x: 1 }), /tensor "x" must be an object/);
  refused(file({ x: { dtype: "F64", shape: [1], data_offsets: [0, 8] } }), /found "F64"/);
  refused(file({ x: { dtype: "toString", shape: [1], data_offsets: [0, 8] } }), /found "toString"/);
  refused(file({ x: { dtype: "F32", shape: [-1], data_offsets: [0, 4] } }, four), /shape/);
  refused(file({ x: { dtype: "F32", shape: [2], data_offsets: [0, 4] } }, four), /must have 8 bytes, found 4/);
  refused(file({ x: { dtype: "F32", shape: [1], data_offsets: [0, 4] } }), /cut short/);
  refused(file({ x: { dtype: "F32", shape: [1], data_offsets: [0, 4] } }, new Uint8Array(8)), /describes/);
  refused(file({ x: { dtype: "F32", shape: [1], data_offsets: [4, 8] } }, new Uint8Array(8)), /must begin at byte 0/);
  const twice = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  refused(file({ x: twice, y: twice }, four), /"y" must begin at byte 4/);
  refused(file({ __metadata__: { a: 1 } }), /__metadata__\.a must be a string/);
  refused(file({ "": twice }, four), /1 to 1000 characters/);
  assert.equal(decodeSafetensors(file('{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', four)).tensors.size, 1);
});

const data = process.env["GRAFT_TEST_DATA"];
test.skipIf(data === undefined)("a published file is read (needs GRAFT_TEST_DATA)", () => {
  const { tensors: read, metadata } = decodeSafetensors(readFileSync(`${data}/weights/mobilenet_v2_1.0_224/backbone.safetensors`));
  assert.equal(read.size, 260);
  assert.deepEqual(read.get("Conv_weights")?.shape, [3, 3, 3, 32]);
  assert.ok(metadata.size > 0);
});
