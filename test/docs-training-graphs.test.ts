import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { differentiate } from "../domain/network/gradient/differentiate.js";
import type { GradientProgram } from "../domain/network/gradient/program.js";
import { around, batchNorm, conv, dense, globalAveragePool, graph, relu } from "./conformance/engine/layers.js";
import { INPUT } from "../domain/network/network.js";

const file = "docs/training-graphs.md";

/** A line for each operation: number, kind, operands, shape, layer; then where the gradients are. */
function listing({ operations, gradients }: GradientProgram): string {
  const lines = operations.map(({ primitive, operands, result, layer }) => {
    const kind = "name" in primitive ? `${primitive.kind} ${primitive.name}` : primitive.kind;
    const call = operands.length === 0 ? kind : `${kind}(${operands.map(({ id }) => id).join(", ")})`;
    const shape = `[${[...(result.hasRows ? ["rows"] : []), ...result.shape].join(", ")}]`;
    return `${String(result.id).padStart(2)}  ${call.padEnd(36)} ${shape.padEnd(18)} ${layer}`;
  });
  return [...lines, "", ...[...gradients].map(([name, { id }]) => `d ${name} = ${id}`)].join("\n");
}

test(`the program in ${file} is the one that differentiation makes (GRAFT_WRITE_DOCS=1 writes it)`, () => {
  const network = graph(
    "example",
    [8, 8, 3],
    [
      ["conv", [INPUT], conv(4, [3, 3], { padding: around(1) })],
      ["bn", ["conv"], batchNorm],
      ["relu", ["bn"], relu],
      ["pool", ["relu"], globalAveragePool],
      ["logits", ["pool"], dense(2)],
    ],
  );
  const block = `\`\`\`\n${listing(differentiate(network, { batchNorm: "FROZEN" }))}\n\`\`\``;
  const section = /(?<=with frozen batch norm:\n\n)```.*?```/s;
  if (process.env["GRAFT_WRITE_DOCS"] === "1")
    writeFileSync(
      file,
      readFileSync(file, "utf8").replace(section, () => block),
    );
  expect(section.exec(readFileSync(file, "utf8"))?.[0]).toBe(block);
});
