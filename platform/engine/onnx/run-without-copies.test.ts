import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { GraphBuilder } from "../../../formats/onnx/graph-builder.js";
import { runWithoutCopies } from "./run-without-copies.js";

function doubling(): Uint8Array {
  const graph = new GraphBuilder();
  graph.input("x", "float32", [3]);
  graph.sequenceOutput("sentinel", "float32");
  graph.node("Add", ["x", "x"], {}, "y");
  graph.output("y", "float32", [3]);
  graph.nodeWithOutputs("SequenceConstruct", ["x"], ["sentinel"]);
  return graph.encode("doubling");
}

// If this fails with "copied" after an upgrade, the runtime takes sequences now: results are right, but every output is copied (0.5 ms a megabyte). Measure again.
test("this version of onnxruntime-node writes the outputs into our arrays and copies nothing", async () => {
  const session = await InferenceSession.create(doubling());
  const y = new Float32Array(3);
  const outcome = await runWithoutCopies(
    session,
    { x: new Tensor("float32", Float32Array.of(1, 2, 3), [3]) },
    { y: new Tensor("float32", y, [3]) },
  );
  expect([...y]).toEqual([2, 4, 6]);
  expect(outcome).toBe("skipped");
});

test("any other failure of a run is passed on", async () => {
  const session = await InferenceSession.create(doubling());
  const run = runWithoutCopies(
    session,
    { x: new Tensor("float32", new Float32Array(4), [4]) },
    { y: new Tensor("float32", new Float32Array(3), [3]) },
  );
  await expect(run).rejects.toThrow(/invalid dimensions/i);
});
