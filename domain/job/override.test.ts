import assert from "node:assert";
import { describe, test } from "vitest";
import { CodedError } from "../errors.js";
import { applyOverrides, optionName, overrides, type Override } from "./override.js";
import { resolveJob } from "./resolve.js";
import type { JobSpec } from "./spec.js";

const spec: JobSpec = {
  dataset: { source: "a", split: { seed: 7 } },
  backbone: { name: "x", digest: "ab" },
  training: { epochs: 3, optimizer: { sgd: { learningRate: 0.1, momentum: 0.9 } }, schedule: { warmupSteps: 5, step: { everySteps: 3 } } },
};

describe("flags over a job file", () => {
  test("set their fields and leave the others and the given spec alone", () => {
    const before = structuredClone(spec);
    assert.deepEqual(applyOverrides(spec, { batch: "64", splitSeed: "2", trainers: "3", dataset: "b" }), {
      ...spec,
      dataset: { source: "b", split: { seed: 2 } },
      training: { ...spec.training, batchSize: 64 },
      trainers: { min: 3, max: 3 },
    });
    assert.deepEqual(spec, before);
    assert.deepEqual(applyOverrides(spec, { out: "elsewhere", json: true, batch: undefined }), spec);
  });

  test("take out what contradicts them", () => {
    const changed = applyOverrides(spec, { steps: "10" }).training ?? {};
    assert.deepEqual([changed.steps, changed.optimizer, Object.hasOwn(changed, "epochs")], [10, spec.training?.optimizer, false]);
    assert.deepEqual(applyOverrides(spec, { backbone: "y" }).backbone, { name: "y" });
    assert.deepEqual(applyOverrides(spec, { schedule: "cosine" }).training?.schedule, { warmupSteps: 5, cosine: {} });
  });

  test("--learning-rate goes to the optimiser that is chosen, whatever the order of the flags", () => {
    assert.deepEqual(applyOverrides(spec, { learningRate: "1e-2" }).training?.optimizer, {
      sgd: { learningRate: 0.01, momentum: 0.9 },
    });
    assert.deepEqual(applyOverrides(spec, { learningRate: ".5", optimizer: "adamw" }).training?.optimizer, {
      adamw: { learningRate: 0.5 },
    });
    assert.deepEqual(applyOverrides({}, { learningRate: "0.5" }).training?.optimizer, { sgd: { learningRate: 0.5 } });
    assert.deepEqual(applyOverrides({}, { learningRate: "0.5", optimizer: "adam" }).training?.optimizer, { adam: { learningRate: 0.5 } });
    assert.deepEqual(applyOverrides({}, { momentum: "0.5" }).training?.optimizer, { sgd: { momentum: 0.5 } });
    assert.deepEqual(applyOverrides({}, { optimizer: "rmsprop", momentum: "0.9" }).training?.optimizer, { rmsprop: { momentum: 0.9 } });
    assert.deepEqual(applyOverrides(spec, { optimizer: "sgd" }).training?.optimizer, spec.training?.optimizer);
  });

  test.each([
    ["--batch", "many", '--batch: must be a whole number, found "many"'],
    ["--batch", "1.5", '--batch: must be a whole number, found "1.5"'],
    ["--batch", "", '--batch: must be a whole number, found ""'],
    ["--batch", "0x10", '--batch: must be a whole number, found "0x10"'],
    ["--learning-rate", "Infinity", '--learning-rate: must be a number, found "Infinity"'],
    ["--optimizer", "Adam", '--optimizer: must be one of sgd, rmsprop, adam, adamw; found "Adam"; did you mean adam?'],
    ["--dataset", "", '--dataset: must be text, found ""'],
    ["--seed", "1e400", '--seed: must be a whole number, found "1e400"'],
  ])("%s %j is refused", (flag, text, message) => {
    assert.throws(
      () => applyOverrides({}, { [optionName({ flag } as Override)]: text }),
      (error) => error instanceof CodedError && error.code === "USAGE_INVALID" && error.message === message,
    );
  });

  test.each(["adam", "adamw"])("--momentum is refused for %s, of the file or of a flag", (name) => {
    const refused = { code: "USAGE_INVALID", message: `--momentum: ${name} has none; use it with --optimizer sgd or rmsprop` };
    assert.throws(() => applyOverrides({ training: { optimizer: { [name]: {} } } }, { momentum: "0.9" }), refused);
    assert.throws(() => applyOverrides({}, { optimizer: name, momentum: "0.9" }), refused);
  });

  test("--steps and --epochs together are refused", () => {
    assert.throws(() => applyOverrides({}, { steps: "1", epochs: "1" }), /exclude each other/);
  });

  test("each one alone gives a spec that resolves, and changes it", () => {
    const values: Readonly<Record<string, string>> = {
      optimizer: "sgd",
      schedule: "constant",
      dataset: "b",
      backbone: "b",
      cut: "c",
      labelSmoothing: "0.1",
      batchNorm: "BATCH",
      from: "out",
      fromClass: "daisy",
      engine: "tensorflow",
      extractorEngine: "tensorflow",
    };
    const base: JobSpec = { dataset: { source: "a" }, training: { optimizer: { rmsprop: {} } } };
    for (const override of overrides) {
      const name = optionName(override);
      const value = values[name] ?? (override.kind === "integer" ? 4 : 0.5);
      assert.notDeepEqual(resolveJob(applyOverrides(base, { [name]: value })), resolveJob(base), name);
    }
  });
});
