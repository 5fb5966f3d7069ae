import type { Expression, Program } from "../../../../domain/training/elementwise.js";
import { GraphBuilder } from "../../../../formats/onnx/graph-builder.js";

/** Elements of one block: gradient, parameters, slots and what lies between stay in a core's caches. */
const blockElements = 192 * 1024;

/** One update of some rows of a large kernel `[in, units]`. */
export interface UpdateShape {
  /** Of x and dy. */
  readonly rows: number;
  readonly inputs: number;
  readonly units: number;
  /** Rows of the kernel that one call moves. */
  readonly kernelRows: number;
}

export interface UpdateGraph {
  readonly model: Uint8Array;
  /** Rows of the kernel in each block, one after another. */
  readonly blocks: readonly number[];
  /** The arrays that the program writes, in the names of outputs `updated/ARRAY/BLOCK`. */
  readonly written: readonly number[];
}

/**
 * The gradient of some rows of a kernel and the optimiser's program on it, block by block.
 *
 *   inputs   x [rows, in], dy [rows, units], from [1] and to [1]: the kernel's rows of this call, constant/C, array/A/B [block, units] for each array but the gradient
 *   outputs  sentinel (run-without-copies.ts), updated/A/B, which may be the same memory as the input
 *
 * Every operator rounds once, as the program's own operations do (domain/training/elementwise.ts). What overwrites an array depends on all that reads it, in every program of optimizer-programs.ts.
 */
export function lowerUpdate(program: Program, { rows, inputs, units, kernelRows }: UpdateShape): UpdateGraph {
  const graph = new GraphBuilder();
  graph.sequenceOutput("sentinel", "float32");
  graph.input("x", "float32", [rows, inputs]);
  graph.input("dy", "float32", [rows, units]);
  graph.input("from", "int64", [1]);
  graph.input("to", "int64", [1]);
  for (let i = 0; i < program.constants; i++) graph.input(constantInput(i), "float32", []);

  const blockRows = Math.max(1, Math.floor(blockElements / units));
  const blocks = Array.from({ length: Math.ceil(kernelRows / blockRows) }, (_, block) =>
    Math.min(blockRows, kernelRows - block * blockRows),
  );
  const columns = graph.node("Slice", ["x", "from", "to", graph.integers([1])]);
  const parts = blocks.length === 1 ? [columns] : blocks.map((_, block) => `x/${block}`);
  if (blocks.length > 1) graph.nodeWithOutputs("Split", [columns, graph.integers(blocks)], parts, { axis: { int: 1 } });

  const written = [...new Set(program.body.flatMap((statement) => (statement.kind === "store" ? [statement.array] : [])))];
  blocks.forEach((length, block) => {
    const gradient = graph.node("Gemm", [parts[block] ?? "", "dy"], { transA: { int: 1 } });
    const arrays = Array.from({ length: program.arrays }, (_, array) =>
      array === 1 ? gradient : graph.input(arrayInput(array, block), "float32", [length, units]),
    );
    emitProgram(graph, program, arrays, (array) => updatedOutput(array, block));
    for (const array of written) graph.output(updatedOutput(array, block), "float32", [length, units]);
  });
  graph.nodeWithOutputs("SequenceConstruct", [constantInput(0)], ["sentinel"]);
  return { model: graph.encode("update"), blocks, written };
}

export const constantInput = (constant: number): string => `constant/${constant}`;
export const arrayInput = (array: number, block: number): string => `array/${array}/${block}`;
export const updatedOutput = (array: number, block: number): string => `updated/${array}/${block}`;

const operators = { add: "Add", subtract: "Sub", multiply: "Mul", divide: "Div" } as const;

/** What an array holds afterwards is called `nameOf(array)`. */
function emitProgram(graph: GraphBuilder, program: Program, arrays: readonly string[], nameOf: (array: number) => string): void {
  const names = [...arrays];
  const values: string[] = [];
  const emit = (expression: Expression, output?: string): string => {
    switch (expression.kind) {
      case "element":
        return names[expression.array] as string;
      case "constant":
        return constantInput(expression.constant);
      case "value":
        return values[expression.value] as string;
      case "sqrt":
        return graph.node("Sqrt", [emit(expression.of)], {}, output);
      default:
        return graph.node(operators[expression.kind], [emit(expression.left), emit(expression.right)], {}, output);
    }
  };
  // A value that is stored is computed right where it is stored, for a copy would cost as much.
  const storedAs = new Map(
    program.body.flatMap((statement) =>
      statement.kind === "store" && statement.is.kind === "value" ? [[statement.is.value, nameOf(statement.array)]] : [],
    ),
  );
  for (const statement of program.body) {
    if (statement.kind === "let") values[statement.value] = emit(statement.is, storedAs.get(statement.value));
    else {
      const name = nameOf(statement.array);
      const value = emit(statement.is, name);
      names[statement.array] = value === name ? name : graph.node("Identity", [value], {}, name);
    }
  }
}
