import { strict as assert } from "node:assert";

/** What holds the elements of a tensor. */
export const arrays = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array, int64: BigInt64Array } as const;
export type ElementType = keyof typeof arrays;
export type ElementArray = InstanceType<(typeof arrays)[ElementType]>;

export interface ArrayInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly length: number;
}

/** Every array begins on a cache line. */
const alignment = 64;

/** Where arrays lie in one buffer, which crosses threads without a copy. */
export class PackedArrays {
  readonly bytes: number;
  readonly #places: readonly (ArrayInfo & { readonly offset: number })[];

  constructor(infos: readonly ArrayInfo[]) {
    let bytes = 0;
    this.#places = infos.map((info) => {
      const place = { ...info, offset: bytes };
      bytes += Math.ceil((info.length * arrays[info.type].BYTES_PER_ELEMENT) / alignment) * alignment;
      return place;
    });
    this.bytes = bytes;
  }

  /** Copies every array into the buffer. @throws AssertionError where one has another type or length; then nothing is copied. */
  pack(buffer: ArrayBuffer, given: Readonly<Record<string, unknown>>): void {
    for (const { into, array } of this.#each(buffer, given)) into.set(array);
  }

  /** Copies every array out of the buffer; as `pack`. */
  unpack(buffer: ArrayBuffer, given: Readonly<Record<string, unknown>>): void {
    for (const { into, array } of this.#each(buffer, given)) array.set(into);
  }

  /** The arrays as they lie in the buffer. */
  views(buffer: ArrayBuffer): Readonly<Record<string, ElementArray>> {
    return Object.fromEntries(this.#places.map(({ name, type, offset, length }) => [name, new arrays[type](buffer, offset, length)]));
  }

  /** Bytes, so that arrays of one type are copied as such. */
  #each(buffer: ArrayBuffer, given: Readonly<Record<string, unknown>>): { readonly into: Uint8Array; readonly array: Uint8Array }[] {
    return this.#places.map(({ name, type, offset, length }) => {
      const array = given[name];
      assert(array instanceof arrays[type] && array.length === length, `${name} must be ${String(length)} elements of ${type}`);
      return {
        into: new Uint8Array(buffer, offset, array.byteLength),
        array: new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
      };
    });
  }
}
