import { strict as assert } from "node:assert";
import type { Attribute, Binding } from "./binding.js";

/** A tensor of TensorFlow. */
export interface Value {
  readonly id: number;
  readonly shape: readonly number[];
}

/** A kernel's attribute: numbers are integers unless wrapped by `float`. */
export type AttributeValue =
  string | boolean | number | readonly number[] | { readonly float: number } | { readonly type: "float32" | "int32" | "uint8" };

/**
 * The tensors of one call of the engine. Every value that an operation returns has one holder, `hold` adds one and `release` takes one away; the last one frees it.
 * `close` frees whatever is left, so that a call that fails leaves nothing behind.
 */
export class Kernels {
  readonly #binding: Binding;
  readonly #holders = new Map<number, number>();

  constructor(binding: Binding) {
    this.#binding = binding;
  }

  /** `data` must stay as it is until the value is freed: it may be used where it lies. */
  upload(data: Float32Array | Int32Array | Uint8Array, shape: readonly number[]): Value {
    const { TF_FLOAT, TF_INT32, TF_UINT8 } = this.#binding;
    const type = data instanceof Float32Array ? TF_FLOAT : data instanceof Int32Array ? TF_INT32 : TF_UINT8;
    const id = this.#binding.createTensor(shape, type, data);
    this.#holders.set(id, 1);
    return { id, shape };
  }

  /** A vector of int32: shapes, paddings and axes, which kernels take as inputs. */
  integers(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.upload(Int32Array.from(values), shape);
  }

  /** Runs one kernel of TensorFlow. */
  run(kernel: string, attributes: Readonly<Record<string, AttributeValue>>, inputs: readonly Value[], outputs: number): Value[] {
    const list = Object.entries(attributes).map(([name, value]) => this.#attribute(name, value));
    const infos = this.#binding.executeOp(kernel, list, inputs.map(({ id }) => id), outputs); // prettier-ignore
    for (const { id } of infos) this.#holders.set(id, 1);
    return [...infos];
  }

  /** The same for a kernel with one output; frees `temporary` inputs made for this run only. */
  one(
    kernel: string,
    attributes: Readonly<Record<string, AttributeValue>>,
    inputs: readonly Value[],
    temporary: readonly Value[] = [],
  ): Value {
    const [output] = this.run(kernel, attributes, inputs, 1);
    assert(output !== undefined);
    for (const value of temporary) this.release(value);
    return output;
  }

  hold(value: Value): Value {
    this.#holders.set(value.id, this.#holdersOf(value) + 1);
    return value;
  }

  release(value: Value): void {
    const left = this.#holdersOf(value) - 1;
    if (left > 0) {
      this.#holders.set(value.id, left);
      return;
    }
    this.#holders.delete(value.id);
    this.#binding.deleteTensor(value.id);
  }

  /** A copy of the values. */
  read(value: Value): Float32Array {
    const data = this.#binding.tensorDataSync(value.id);
    assert(data instanceof Float32Array);
    return data;
  }

  close(): void {
    for (const id of this.#holders.keys()) this.#binding.deleteTensor(id);
    this.#holders.clear();
  }

  #holdersOf({ id }: Value): number {
    const holders = this.#holders.get(id);
    assert(holders !== undefined, `tensor ${id} has been freed`);
    return holders;
  }

  #attribute(name: string, value: AttributeValue): Attribute {
    const { TF_ATTR_STRING, TF_ATTR_BOOL, TF_ATTR_INT, TF_ATTR_FLOAT, TF_ATTR_TYPE, TF_FLOAT, TF_INT32, TF_UINT8 } = this.#binding;
    if (typeof value === "string") return { name, type: TF_ATTR_STRING, value };
    if (typeof value === "boolean") return { name, type: TF_ATTR_BOOL, value };
    if (typeof value === "number" || Array.isArray(value)) return { name, type: TF_ATTR_INT, value };
    if ("float" in value) return { name, type: TF_ATTR_FLOAT, value: value.float };
    assert("type" in value);
    return { name, type: TF_ATTR_TYPE, value: { float32: TF_FLOAT, int32: TF_INT32, uint8: TF_UINT8 }[value.type] };
  }
}
