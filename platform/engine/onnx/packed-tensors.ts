import { strict as assert } from "node:assert";
import type { TypedTensor } from "onnxruntime-node";
import { elementCount } from "../../../domain/network/network.js";
import { arrays, type Feeds, type TensorInfo } from "./graph-session.js";
import type { Runtime } from "./runtime.js";

/** Every tensor begins on a cache line. */
const alignment = 64;

/** Where tensors lie in one buffer, which crosses threads without a copy. */
export class PackedTensors {
  readonly bytes: number;
  readonly #places: readonly (TensorInfo & { readonly offset: number; readonly length: number })[];

  constructor(tensors: readonly TensorInfo[]) {
    let bytes = 0;
    this.#places = tensors.map((tensor) => {
      const length = elementCount(tensor.dims);
      const place = { ...tensor, offset: bytes, length };
      bytes += Math.ceil((length * arrays[tensor.type].BYTES_PER_ELEMENT) / alignment) * alignment;
      return place;
    });
    this.bytes = bytes;
  }

  pack(buffer: ArrayBuffer, tensors: Feeds): void {
    for (const { packed, data } of this.#each(buffer, tensors)) packed.set(data);
  }

  unpack(buffer: ArrayBuffer, tensors: Feeds): void {
    for (const { packed, data } of this.#each(buffer, tensors)) data.set(packed);
  }

  /** The tensors as they lie in the buffer. */
  wrap(runtime: Runtime, buffer: ArrayBuffer): Feeds {
    return Object.fromEntries(
      this.#places.map(({ name, type, dims, offset, length }) => [
        name,
        new runtime.Tensor(type, new arrays[type](buffer, offset, length), dims),
      ]),
    );
  }

  *#each(buffer: ArrayBuffer, tensors: Feeds): Generator<{ readonly packed: Uint8Array; readonly data: Uint8Array }> {
    for (const { name, type, offset, length } of this.#places) {
      const data = (tensors[name] as TypedTensor<typeof type> | undefined)?.data;
      assert(data instanceof arrays[type] && data.length === length, `${name} must be ${String(length)} elements of ${type}`);
      yield {
        packed: new Uint8Array(buffer, offset, data.byteLength),
        data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      };
    }
  }
}
