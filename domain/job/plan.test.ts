import assert from "node:assert";
import { describe, expect, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { CodedError } from "../errors.js";
import { expectedCounts } from "./expected-counts.js";
import { assertFeasible, planJob, type PlanInputs } from "./plan.js";
import { chooseTrainers } from "./plan-costs.js";
import { renderPlan } from "./render-plan.js";
import { resolveJob } from "./resolve.js";
import type { JobSpec } from "./spec.js";

const split = { trainPercent: 80, validationPercent: 10, testPercent: 10, seed: 1 };
const none = { train: 0, validation: 0, test: 0 };

function inputs(spec: JobSpec = {}, more: Partial<PlanInputs> = {}): PlanInputs {
  return {
    job: resolveJob({ dataset: { source: "flowers" }, ...spec }),
    pictures: 1250,
    classes: ["daisy", "roses"],
    counts: { train: [500, 500], validation: [60, 65], test: [65, 60] },
    exact: true,
    cached: 0,
    backbone: { name: "mobilenet_v2_1.0_224", digest: "0123456789abcdef", cut: "global_average_pool" },
    frozen: { parameters: 2_257_984, multiplyAdds: 300_774_272, size: 224, batch: 8 },
    network: featureCut([1280]),
    engine: "onnx",
    local: true,
    ...more,
  };
}

describe("planJob", () => {
  test("counts tasks, bytes, parameters, steps", () => {
    const plan = planJob(inputs({}, { cached: 250 }));
    assert.deepEqual(plan.extraction.cached, { value: 250, exact: true });
    assert.deepEqual(plan.extraction.toExtract, { value: 1000, exact: true });
    assert.deepEqual([plan.extraction.tasks, plan.extraction.taskPictures], [20, 64]);
    assert.equal(plan.extraction.bytesToWrite, 1000 * (1280 * 4 + 48 + 2500));
    assert.equal(plan.features.shardRows, 4096);
    assert.equal(plan.training.parameters, 1280 * 2 + 2);
    assert.equal(plan.training.multiplyAddsPerRow, 1280 * 2);
    assert.deepEqual(plan.training.steps, { value: Math.ceil((100 * 1000) / 96), exact: true });
    assert.equal(plan.training.evaluateEverySteps, Math.ceil(1042 / 20));
    assert.deepEqual(plan.obstacles, []);
    assert.deepEqual(JSON.parse(JSON.stringify(plan)), plan, "a plan is plain JSON");
  });

  test("estimates seconds from the given speeds, and says where they come from", () => {
    const plan = planJob(
      inputs({}, { speeds: { imagesPerSecond: { value: 250, origin: "measured" }, millisecondsPerStep: { value: 2, origin: "probed" } } }),
    );
    assert.equal(plan.extraction.seconds, 5);
    const evaluated = (125 * Math.ceil(1042 / 53) + 125) / 96;
    assert.equal(plan.training.seconds.toFixed(9), (2.084 + (evaluated * 2) / 3000).toFixed(9));
    assert.deepEqual([plan.extraction.imagesPerSecond.origin, plan.training.millisecondsPerStep.origin], ["measured", "probed"]);
    assert.equal(planJob(inputs()).extraction.imagesPerSecond.origin, "assumed");
  });

  test.each<[NonNullable<JobSpec["training"]>, number]>([
    [{ evaluateEveryEpochs: 1 }, Math.ceil(1000 / 96)],
    [{ evaluateEverySteps: 7 }, 7],
    [{ steps: 100 }, 5],
    [{ steps: 101 }, 6],
    [{ steps: 3 }, 1],
  ])("%j is evaluated every %i steps", (training, steps) => {
    assert.equal(planJob(inputs({ training })).training.evaluateEverySteps, steps);
  });

  test("a trainer holds the features, the parameters with their slots and the partial sums", () => {
    const memory = (spec: JobSpec): number => planJob(inputs(spec)).training.memoryBytes;
    const parameters = 4 * (1280 * 2 + 2);
    const adam = memory({ training: { optimizer: { adam: {} } } });
    assert.equal(adam - 200e6, 1250 * 1280 * 4 + parameters * (3 + 2 + 3 + 1));
    assert.equal(adam - memory({ training: { optimizer: { sgd: { momentum: 0 } } } }), 2 * parameters);
    assert.equal(adam - memory({ training: { optimizer: { sgd: { momentum: 0.9 } } } }), parameters);
    assert.equal(adam - memory({ training: { optimizer: { adam: {} }, grains: 1 } }), 3 * parameters);
  });

  test.each<[string, PlanInputs, string, RegExp]>([
    [
      "one class",
      inputs({}, { classes: ["a\u001b"], counts: { train: [9], validation: [1], test: [1] } }),
      "DATASET_INVALID",
      /two classes, found only "a\\u001b"/,
    ],
    [
      "a class that is not trained",
      inputs({}, { counts: { train: [500, 0], validation: [1, 1], test: [1, 1] } }),
      "DATASET_INVALID",
      /no training pictures in class "roses"/,
    ],
    [
      "too much for a trainer",
      inputs({}, { network: featureCut([1280 * 4000]), pictures: 1250 }),
      "JOB_TOO_LARGE",
      /the features need 25\.6 GB, at most 17\.2 GB/,
    ],
    ["too little memory", inputs({}, { memoryBytes: 100e6 }), "JOB_TOO_LARGE", /a trainer needs about 206 MB of memory, there are 100 MB/],
    [
      "sigmoid for three classes",
      inputs(
        { training: { loss: "SIGMOID_CROSS_ENTROPY" } },
        { classes: ["a", "b", "c"], counts: { train: [9, 9, 9], validation: [1, 1, 1], test: [1, 1, 1] } },
      ),
      "SPEC_INVALID",
      /two classes, found 3/,
    ],
  ])("%s is an obstacle", (_, given, code, message) => {
    const plan = planJob(given);
    assert.throws(
      () => assertFeasible(plan),
      (error) => error instanceof CodedError && error.code === code && message.test(error.message),
    );
    expect(renderPlan(plan)).toMatch(message);
  });

  test("an empty dataset has no plan", () => {
    assert.throws(
      () => planJob(inputs({}, { pictures: 0, classes: [], counts: { train: [], validation: [], test: [] } })),
      /flowers: no pictures found/,
    );
  });

  test("says what a user should know", () => {
    assert.deepEqual(planJob(inputs({}, { counts: { train: [5, 5], validation: [0, 3], test: [0, 0] } })).notes, [
      'no validation pictures in class "daisy"',
      "no test pictures: the result has no test accuracy",
    ]);
    assert.deepEqual(planJob(inputs({ head: { layers: [{ dense: { units: 8192 } }] } })).notes, [
      "1 grain instead of 8: more than 8,000,000 parameters are trained",
    ]);
    assert.deepEqual(planJob(inputs({ training: { steps: 500 } }, { exact: false })).notes, ["500 steps are ≈ 48.0 epochs"]);
  });

  test("plans a million classes' worth of names in moments", () => {
    const classes = Array.from({ length: 20_000 }, (_, index) => `class ${index}`);
    const each = classes.map(() => 5);
    const text = renderPlan(planJob(inputs({}, { pictures: 300_000, classes, counts: { train: each, validation: each, test: each } })));
    expect(text).toContain("and 19,970 more");
  });
});

describe("chooseTrainers", () => {
  const question = {
    wanted: { min: 1, max: 16 },
    grains: 8,
    parameters: 130_662,
    millisecondsPerStep: 1.2,
    exchangeBytesPerSecond: 330e6,
    local: false,
  };

  test("takes one where the exchange costs more than it saves, and says so", () => {
    const choice = chooseTrainers(question);
    assert.equal(choice.trainers, 1);
    assert.equal(choice.exchangeBytesPerStep, 0);
    assert.equal(
      choice.reason,
      "a step takes 1.20 ms of computing + 0.00 ms of exchange; with 2: 0.60 ms of computing + 5.17 ms of exchange",
    );
  });

  test("takes more where computing costs more, never more than grains or allowed", () => {
    const large = { ...question, millisecondsPerStep: 900 };
    assert.deepEqual([chooseTrainers(large).trainers, chooseTrainers(large).reason.includes("possible with 8 grains")], [8, true]);
    assert.equal(chooseTrainers({ ...large, wanted: { min: 1, max: 4 } }).trainers, 4);
    // Five trainers of eight grains are no faster than four: one of them has two grains in either case.
    assert.equal(chooseTrainers({ ...large, wanted: { min: 1, max: 7 } }).trainers, 4);
    assert.equal(chooseTrainers(large).exchangeBytesPerStep, 2 * 4 * 130_662 * 7);
  });

  test("takes as many as asked for; locally one unless asked", () => {
    assert.deepEqual(
      [
        chooseTrainers({ ...question, wanted: { min: 3, max: 3 } }).trainers,
        chooseTrainers({ ...question, wanted: { min: 3, max: 3 } }).reason,
      ],
      [3, "as asked for"],
    );
    assert.equal(chooseTrainers({ ...question, millisecondsPerStep: 900, local: true }).trainers, 1);
    assert.equal(chooseTrainers({ ...question, wanted: { min: 16, max: 16 } }).trainers, 8);
  });
});

describe("expectedCounts", () => {
  const one = (pictures: number, given: Partial<typeof none>, splits: ("train" | "validation" | "test")[]) => {
    const counts = expectedCounts([{ label: "a", pictures, given: { ...none, ...given } }], splits, split);
    return [counts.train[0], counts.validation[0], counts.test[0]];
  };
  test("follow the rules of assignedSplit", () => {
    assert.deepEqual(one(100, {}, []), [80, 10, 10]);
    assert.deepEqual(one(100, { train: 100 }, ["train"]), [80, 10, 10]);
    assert.deepEqual(one(110, { train: 90, test: 20 }, ["train", "test"]), [80, 10, 20]);
    assert.deepEqual(one(110, { train: 90, validation: 20 }, ["train", "validation"]), [90, 20, 0]);
    assert.deepEqual(one(110, { train: 80, validation: 20, test: 10 }, ["train", "validation", "test"]), [80, 20, 10]);
    for (let pictures = 0; pictures < 50; pictures++)
      assert.equal(
        one(pictures, {}, []).reduce((sum, value) => (sum ?? 0) + (value ?? 0), 0),
        pictures,
      );
  });
});

test("a rendered plan", () => {
  const plan = planJob(
    inputs(
      { trainers: { min: 2, max: 2 } },
      {
        exact: false,
        cached: 250,
        speeds: { imagesPerSecond: { value: 212.4, origin: "measured" }, millisecondsPerStep: { value: 1.234, origin: "probed" } },
      },
    ),
  );
  assert.equal(
    renderPlan(plan),
    `dataset     flowers: 1,250 pictures in 2 classes
backbone    mobilenet_v2_1.0_224 (0123456789ab), cut global_average_pool, 301 M multiply-adds a picture
feature     [1280] float32, 5.12 kB a picture
cached      ≈ 250 of 1,250
to extract  ≈ 1,000 pictures; 20 tasks of up to 64 pictures, 1 extractor
to write    ≈ 7.67 MB of features and thumbnails
extraction  ≈ 4.7 s at 212 images/s (measured)
trained     2,562 parameters, 2.6 k multiply-adds a row
steps       ≈ 1,042 of 96 rows in 8 grains, evaluated every 53 steps
training    ≈ 1.3 s at 1.23 ms/step (probed)
trainers    2 (as asked for), 20.5 kB exchanged a step
memory      ≈ 315 MB an extractor, ≈ 206 MB a trainer
class    train  validation   test
daisy    ≈ 500        ≈ 60   ≈ 65
roses    ≈ 500        ≈ 65   ≈ 60
all    ≈ 1,000       ≈ 125  ≈ 125
≈ estimated: not every picture's identity is known yet; --read counts`,
  );
});
