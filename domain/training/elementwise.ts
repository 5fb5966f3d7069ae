import { CodedError } from "../errors.js";

/**
 * Compiles elementwise float32 arithmetic to WebAssembly: four elements an instruction, one rounding an operation. Plain JavaScript rounds float64 results to float32 one by one,
 * which takes five times as long; the bits are the same (f32 add, sub, mul, div and sqrt are exact IEEE 754 operations, and WebAssembly knows no fused ones).
 */
export type Expression =
  | { readonly kind: "element"; readonly array: number }
  | { readonly kind: "constant"; readonly constant: number }
  | { readonly kind: "value"; readonly value: number }
  | { readonly kind: "add" | "subtract" | "multiply" | "divide"; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "sqrt"; readonly of: Expression };

/** In order for each element: names the result of an expression, or stores it to an array. Arrays, constants and values go by number from 0. */
export type Statement =
  | { readonly kind: "let"; readonly value: number; readonly is: Expression }
  | { readonly kind: "store"; readonly array: number; readonly is: Expression };

export interface Program {
  readonly arrays: number;
  readonly constants: number;
  readonly body: readonly Statement[];
}

/** Runs the program over `count` elements. `arrays`: byte addresses in the memory, multiples of 4. `constants` are rounded to float32. */
export type Kernel = (count: number, arrays: readonly number[], constants: readonly number[]) => void;

/** The part of WebAssembly's interface that is used here (TypeScript has it in the DOM library only). */
interface WebAssemblyInterface {
  readonly Memory: new (descriptor: { initial: number }) => WebAssemblyMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
}

export interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer;
}

const webAssembly = (globalThis as unknown as { WebAssembly: WebAssemblyInterface }).WebAssembly;
const PAGE_BYTES = 65_536;
const PAGES_MAX = 65_536;

/**
 * A memory that never grows, so that views on it stay valid.
 * @throws CodedError ENGINE_UNSUPPORTED above the 4 GiB that WebAssembly can address.
 */
export function kernelMemory(bytes: number): WebAssemblyMemory {
  if (bytes > PAGES_MAX * PAGE_BYTES) {
    throw new CodedError(
      "ENGINE_UNSUPPORTED",
      `parameters, gradient and optimiser state take ${bytes} bytes; at most 4 GiB can be trained: cut the network later or take sgd`,
      { bytes },
    );
  }
  return new webAssembly.Memory({ initial: Math.max(1, Math.ceil(bytes / PAGE_BYTES)) });
}

export function compileKernel(program: Program, memory: WebAssemblyMemory): Kernel {
  const instance = new webAssembly.Instance(new webAssembly.Module(encodeModule(program)), { graft: { memory } });
  const run = instance.exports["run"] as (...values: number[]) => void;
  return (count, arrays, constants) => {
    if (arrays.length !== program.arrays || constants.length !== program.constants) {
      throw new RangeError(
        `the kernel takes ${program.arrays} arrays and ${program.constants} constants, got ${arrays.length} and ${constants.length}`,
      );
    }
    run(count, ...arrays, ...constants);
  };
}

// The binary format: https://webassembly.github.io/spec/core/binary/
const I32 = 0x7f;
const F32 = 0x7d;
const V128 = 0x7b;
const SIMD = 0xfd;
const op = {
  block: 0x02,
  loop: 0x03,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  get: 0x20,
  set: 0x21,
  i32Const: 0x41,
  i32LessUnsigned: 0x49,
  i32Add: 0x6a,
  i32Sub: 0x6b,
};

/** How one width of elements is loaded, stored and computed. */
interface Width {
  readonly lanes: number;
  readonly load: readonly number[];
  readonly store: readonly number[];
  readonly operations: Readonly<Record<"add" | "subtract" | "multiply" | "divide" | "sqrt", readonly number[]>>;
}

const single: Width = {
  lanes: 1,
  load: [0x2a, 2, 0],
  store: [0x38, 2, 0],
  operations: { add: [0x92], subtract: [0x93], multiply: [0x94], divide: [0x95], sqrt: [0x91] },
};

const quad: Width = {
  lanes: 4,
  load: [SIMD, 0x00, 2, 0],
  store: [SIMD, 0x0b, 2, 0],
  operations: {
    add: [SIMD, 0xe4, 1],
    subtract: [SIMD, 0xe5, 1],
    multiply: [SIMD, 0xe6, 1],
    divide: [SIMD, 0xe7, 1],
    sqrt: [SIMD, 0xe3, 1],
  },
};

const splat = [SIMD, 0x13];

/** Locals of `run`: count, array addresses, constants (parameters); then constants in four lanes, values in four lanes, values in one. */
function encodeModule(program: Program): Uint8Array {
  const values = program.body.reduce((most, statement) => (statement.kind === "let" ? Math.max(most, statement.value + 1) : most), 0);
  const parameters = 1 + program.arrays + program.constants;
  const quadLocals = { constants: parameters, values: parameters + program.constants };
  const singleLocals = { constants: 1 + program.arrays, values: quadLocals.values + values };

  const code: number[] = [];
  for (let i = 0; i < program.constants; i++)
    code.push(op.get, ...unsigned(singleLocals.constants + i), ...splat, op.set, ...unsigned(quadLocals.constants + i));
  code.push(...encodeLoop(program, quad, quadLocals), ...encodeLoop(program, single, singleLocals), op.end);

  const locals = [...unsigned(2), ...unsigned(program.constants + values), V128, ...unsigned(values), F32];
  const signature = [0x60, ...vector([I32, ...Array<number>(program.arrays).fill(I32), ...Array<number>(program.constants).fill(F32)]), 0];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, ...signature]),
    ...section(2, [1, ...text("graft"), ...text("memory"), 0x02, 0x00, 0x01]), // one memory of at least one page
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("run"), 0x00, 0x00]),
    ...section(10, [1, ...vector([...locals, ...code])]),
  ]);
}

/** `while (count >= lanes) { body; addresses += 4 lanes; count -= lanes }` */
function encodeLoop(program: Program, width: Width, locals: { constants: number; values: number }): number[] {
  const code = [op.block, 0x40, op.loop, 0x40];
  code.push(op.get, 0, op.i32Const, width.lanes, op.i32LessUnsigned, op.brIf, 1);
  for (const statement of program.body) {
    if (statement.kind === "let") code.push(...encode(statement.is), op.set, ...unsigned(locals.values + statement.value));
    else code.push(op.get, ...unsigned(1 + statement.array), ...encode(statement.is), ...width.store);
  }
  for (let array = 0; array < program.arrays; array++)
    code.push(op.get, ...unsigned(1 + array), op.i32Const, 4 * width.lanes, op.i32Add, op.set, ...unsigned(1 + array));
  code.push(op.get, 0, op.i32Const, width.lanes, op.i32Sub, op.set, 0, op.br, 0, op.end, op.end);
  return code;

  function encode(expression: Expression): number[] {
    switch (expression.kind) {
      case "element":
        return [op.get, ...unsigned(1 + expression.array), ...width.load];
      case "constant":
        return [op.get, ...unsigned(locals.constants + expression.constant)];
      case "value":
        return [op.get, ...unsigned(locals.values + expression.value)];
      case "sqrt":
        return [...encode(expression.of), ...width.operations.sqrt];
      default:
        return [...encode(expression.left), ...encode(expression.right), ...width.operations[expression.kind]];
    }
  }
}

function section(id: number, content: readonly number[]): number[] {
  return [id, ...vector(content)];
}

/** Bytes with their count in front. */
function vector(bytes: readonly number[]): number[] {
  return [...unsigned(bytes.length), ...bytes];
}

function text(name: string): number[] {
  return vector([...Buffer.from(name)]);
}

/** LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest & 127) | 128);
    rest >>>= 7;
  }
  bytes.push(rest);
  return bytes;
}
