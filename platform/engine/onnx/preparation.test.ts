import { expect, test } from "vitest";
import type { Tensor } from "onnxruntime-node";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import { openHere } from "./graph-session.js";
import { Preparation } from "./preparation.js";
import { loadRuntime } from "./runtime.js";

const runtime = await loadRuntime();
const float = (...values: number[]): Tensor => new runtime.Tensor("float32", Float32Array.from(values), [values.length]);

/** y = x * -(w + 1) + -(w + 1): what w alone decides is used twice. */
function graph(): GraphBuilder {
  const builder = new GraphBuilder();
  builder.sequenceOutput("sentinel", "float32");
  const [x, w] = [builder.input("x", "float32", [2]), builder.input("w", "float32", [2])];
  const prepared = builder.node("Neg", [builder.node("Add", [w, builder.scalar(1)])]);
  builder.node("Add", [builder.node("Mul", [x, prepared]), prepared], {}, "y");
  builder.output("y", "float32", [2]);
  builder.nodeWithOutputs("SequenceConstruct", ["y"], ["sentinel"]);
  return builder;
}

test("a graph in two gives what it gives whole, for one state of the parameters after another", async () => {
  const { early, late, crossing } = graph().encodeDivided("divided", "sentinel", (input) => input === "w");
  expect(crossing).toHaveLength(1);
  const preparation = await Preparation.open(runtime, { model: early, crossing }, 1);
  expect([...preparation.inputs]).toEqual(["w"]);
  const [divided, whole] = [await openHere(runtime, late, 1), await openHere(runtime, graph().encode("whole"), 1)];
  for (const w of [float(2, 3), float(-5, 0.5)]) {
    const prepared = await preparation.run({ w });
    for (const x of [float(1, 10), float(4, 7)]) {
      const [found, expected] = [float(0, 0), float(0, 0)];
      await divided.run({ x, ...prepared }, { y: found });
      await whole.run({ x, w }, { y: expected });
      expect(found.data).toEqual(expected.data);
      expect(expected.data[0]).not.toBe(0);
    }
  }
  await Promise.all([preparation, divided, whole].map((each) => each.release()));
});
