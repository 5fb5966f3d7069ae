import assert from "node:assert";
import { describe, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { type TrainingShape, trainingShape } from "../training/training-plan.js";
import { cutBackbone } from "./cut-backbone.js";
import { assumedExtraction, assumedStep } from "./plan-costs.js";
import { resolveJob } from "./resolve.js";
import type { JobSpec } from "./spec.js";

function shapeOf(spec: JobSpec, classes: number, features?: readonly number[]): TrainingShape {
  const job = resolveJob({ dataset: { source: "x" }, ...spec });
  const network = features ? featureCut(features) : cutBackbone(job, buildTopology("mobilenet_v2", { width: 1, size: 224 }));
  const each = Array.from({ length: classes }, () => 10);
  return trainingShape(job, network, {
    classes: each.map((_, index) => `c${index}`),
    counts: { train: each, validation: each, test: each },
  });
}

describe("assumedStep", () => {
  const wide = { layers: [{ dense: { units: 1024, activation: "RELU" as const } }] };

  test.each<[name: string, engine: string, shape: TrainingShape, measuredMs: number]>([
    ["1280 to 102 in 8 grains", "onnx", shapeOf({ training: { batchSize: 96 } }, 102, [1280]), 1.3],
    ["a hidden layer of 1024 in 8 grains", "onnx", shapeOf({ head: wide, training: { batchSize: 96 } }, 5, [1280]), 13.9],
    ["38.5 million parameters on mixed7", "onnx", shapeOf({ head: wide, training: { batchSize: 20 } }, 2, [7, 7, 768]), 200],
    ["38.5 million parameters on mixed7", "tensorflow", shapeOf({ head: wide, training: { batchSize: 20 } }, 2, [7, 7, 768]), 269],
    ["the last block of MobileNetV2", "tensorflow", shapeOf({ cut: "block_15_add", training: { batchSize: 128, grains: 1 } }, 5), 183],
    ["all of MobileNetV2", "tensorflow", shapeOf({ cut: "input", training: { batchSize: 8, grains: 1 } }, 5), 320],
  ])("%s, %s: within a factor of 1.5 of what two idle cores took", (_name, engine, { trainable, batchSize, grains }, measured) => {
    const { value, origin } = assumedStep(engine, trainable, batchSize, grains);
    assert(value > measured / 1.5 && value < measured * 1.5, `${value} ms, measured ${measured}`);
    assert.equal(origin, "assumed");
  });

  test("grains that run one after another cost their calls", () => {
    const { trainable } = shapeOf({ cut: "block_15_add" }, 5);
    const cost = (engine: string, grains: number): number => assumedStep(engine, trainable, 32, grains).value;
    assert(cost("tensorflow", 8) > cost("tensorflow", 1));
    assert.equal(cost("onnx", 8), cost("onnx", 1));
  });
});

test("decoding and forward pass share the cores", () => {
  assert.equal(assumedExtraction("onnx", 0).value, 400);
  assert.equal(assumedExtraction("onnx", 90e9 / 400).value, 200);
  assert(assumedExtraction("tensorflow", 300e6).value < assumedExtraction("onnx", 300e6).value);
});
