import assert from "node:assert";
import { describe, expect, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { CodedError } from "../errors.js";
import { expectedCounts } from "./expected-counts.js";
import { assertFeasible, planJob, type PlanInputs } from "./plan.js";
import { renderPlan } from "./render-plan.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { cutBackbone, type CutBackbone } from "./cut-backbone.js";
import type { ResolvedJob } from "./job.js";
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
    backbone: { name: "mobilenet_v2_1.0_224", digest: "0123456789abcdef", parameters: 2_257_984 },
    network: featureCut([1280]),
    engines: { extraction: "onnx", training: "onnx" },
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
    assert.deepEqual(plan.extraction.viewsToExtract, { value: 1000, exact: true });
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
    const evaluated = (125 * Math.ceil(1042 / 53) + 1250) / 96;
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

  test("a measured step has the evaluations on the way in it", () => {
    const seconds = (origin: "measured" | "probed"): number =>
      planJob(inputs({}, { speeds: { millisecondsPerStep: { value: 2, origin } } })).training.seconds;
    assert.equal((seconds("probed") - seconds("measured")).toFixed(9), ((((125 * Math.ceil(1042 / 53)) / 96) * 2) / 3000).toFixed(9));
  });

  test("views: what is counted is shown, else every training picture lacks all of its views", () => {
    const spec: JobSpec = { views: { count: 4, horizontalFlip: true } };
    const estimated = planJob(inputs(spec, { exact: false, cached: 625 })).extraction;
    assert.deepEqual([estimated.toExtract.value, estimated.viewsToExtract.value], [625, (625 * (4 * 1000 + 250)) / 1250]);
    const counted = planJob(inputs(spec, { cached: 250, toExtract: { pictures: 1000, views: 3000, thumbnails: 7 } })).extraction;
    assert.equal(counted.bytesToWrite, 3000 * (1280 * 4 + 48) + 7 * 2500);
    assert.equal(counted.seconds, 3000 / counted.imagesPerSecond.value);
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
      /the features need 24415 MiB, training\.featureMemoryMib is 4096, and streaming needs at least 7500 MiB; raise it/,
    ],
    [
      "too little memory",
      inputs({}, { memoryBytes: 100e6 }),
      "JOB_TOO_LARGE",
      /a trainer needs about 2\d\d MB of memory \(process 225 MB, .*\), there are 100 MB/,
    ],
    [
      "an engine that is missing",
      inputs({}, { obstacles: [{ code: "ENGINE_UNAVAILABLE", message: "engine tensorflow: not installed" }] }),
      "ENGINE_UNAVAILABLE",
      /engine tensorflow: not installed/,
    ],
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
    const text = renderPlan(plan);
    expect(text.slice(text.indexOf("cannot run: "))).toMatch(message);
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
    assert.deepEqual(planJob(inputs({ head: { layers: [{ dense: { units: 16384 } }] } })).notes, [
      "1 grain instead of 8: more than 16,000,000 parameters are trained",
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

describe("renderPlan", () => {
  test("features that are more than the memory for them are streamed, if rows are not drawn with replacement", () => {
    const spec = (sampling: "SHUFFLED" | "CLASS_BALANCED"): JobSpec => ({ training: { featureMemoryMib: 4, sampling } });
    const plan = planJob(inputs(spec("SHUFFLED")));
    expect(renderPlan(plan)).toMatch(
      /^rows {8}streamed: 6\.40 MB of features are more than training\.featureMemoryMib \(4\.19 MB\) and are copied into lanes once; window of 24 rows for each of 8 grains$/mu,
    );
    assert.deepEqual(plan.obstacles, []);
    assert.equal(plan.training.memory.features, 4 * 1024 * 1024);
    const balanced = planJob(inputs(spec("CLASS_BALANCED")));
    assert.deepEqual(
      balanced.obstacles.map(({ code }) => code),
      ["SPEC_INVALID"],
    );
  });

  test("a head on frozen features", () => {
    const job = resolveJob({ dataset: { source: "flowers" }, trainers: { min: 2, max: 2 } });
    const plan = planJob(
      inputs(
        {},
        {
          job,
          network: mobilenetAt(job, 1),
          exact: false,
          cached: 250,
          speeds: { imagesPerSecond: { value: 212.4, origin: "measured" }, millisecondsPerStep: { value: 1.234, origin: "probed" } },
        },
      ),
    );
    assert.equal(
      renderPlan(plan),
      `dataset     flowers: 1,250 pictures in 2 classes
backbone    mobilenet_v2_1.0_224 (0123456789ab) at 224 x 224: frozen up to global_average_pool, 299 M multiply-adds a picture
feature     [1280] float32, 5.12 kB a picture
cached      ≈ 250 of 1,250
to extract  ≈ 1,000 pictures; 20 tasks of up to 64 pictures, 1 extractor
to write    ≈ 7.67 MB of features and thumbnails
extraction  ≈ 4.7 s at 212 images/s (measured), engine onnx
trained     2,562 parameters of the head, 2.6 k multiply-adds a row
start       the head from glorotUniform
steps       ≈ 1,042 of 96 rows in 8 grains, evaluated every 53 steps
rows        resident: 6.40 MB of features in memory
training    ≈ 1.4 s at 1.30 ms/step (probed), engine onnx
trainers    2 (as asked for; a step takes 1.23 ms of computing + 0.06 ms of exchange), 20.5 kB exchanged a step
memory      ≈ 401 MB an extractor, ≈ 281 MB a trainer (process 225 MB, files 18.1 MB, backbone 18.1 MB, activations 13.5 MB, features 6.40 MB)
class    train  validation   test
daisy    ≈ 500        ≈ 60   ≈ 65
roses    ≈ 500        ≈ 65   ≈ 60
all    ≈ 1,000       ≈ 125  ≈ 125
≈ estimated: not every picture's identity is known yet; --read counts`,
    );
  });

  test.each<[string, JobSpec, RegExp[]]>([
    [
      "frozen statistics",
      {},
      [
        /^batch norm {2}FROZEN: normalised with the 4,128 moving statistics, which stay$/m,
        /^start {7}the tail from the backbone, the head from glorotUniform$/m,
      ],
    ],
    [
      "statistics of the batch",
      { training: { batchNorm: "BATCH" } },
      [/^batch norm {2}BATCH: normalised with the statistics of each grain, which move 4,128$/m],
    ],
    [
      "random weights",
      { initialWeights: { random: {} }, head: { initializer: { truncatedNormal: { stddev: 0.001 } } } },
      [/random weights: all from truncatedNormal \(deviation 0.001\)/],
    ],
    ["a result", { initialWeights: { fromResult: "out/a\u001b" } }, [/^start {7}the tensors of out\/a\\u001b$/m]],
    [
      "an old class",
      { head: { initialFromClass: "daisy" } },
      [/the head from glorotUniform; the output from the backbone's class "daisy"$/m],
    ],
  ])("a trained tail: %s", (_, spec, expected) => {
    const job = resolveJob({ dataset: { source: "flowers" }, cut: "block_15_add", ...spec });
    const text = renderPlan(
      planJob(inputs({}, { job, network: mobilenetAt(job), engines: { extraction: "onnx", training: "tensorflow" } })),
    );
    expect(text).toMatch(
      /^backbone {4}.* at 224 x 224, used up to global_average_pool: frozen up to block_15_add, 48\.1 M multiply-adds a picture$/m,
    );
    expect(text).toMatch(/^trained {5}[\d,]+ parameters \(tail [\d,]+ in 12 layers, head 2,562 in 1 layer\), .* a row$/m);
    expect(text).toMatch(/^training {4}.*\(assumed\), engine tensorflow$/m);
    for (const line of expected) expect(text).toMatch(line);
  });

  test("pictures themselves as features", () => {
    const job = resolveJob({ dataset: { source: "flowers" }, cut: "input", views: { count: 3, horizontalFlip: true } });
    const text = renderPlan(
      planJob(inputs({}, { job, network: mobilenetAt(job), engines: { extraction: "onnx", training: "tensorflow" } })),
    );
    expect(text).toMatch(/^backbone {4}.*: nothing frozen$/m);
    expect(text).toMatch(/^feature {5}the picture itself, \[224, 224, 3\] uint8, 151 kB a picture, 3 views of each training picture$/m);
    expect(text).toMatch(/^cached {6}0 of 1,250 with every view$/m);
    expect(text).toMatch(/^to extract {2}1,250 pictures in 3,250 views; /m);
  });
});

function mobilenetAt(job: ResolvedJob, width = 0.35): CutBackbone {
  return cutBackbone(job, buildTopology("mobilenet_v2", { width, size: 224 }));
}
