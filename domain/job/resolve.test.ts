import assert from "node:assert";
import { describe, expect, test } from "vitest";
import { CodedError } from "../errors.js";
import type { Recipe } from "./job.js";
import type { Problem } from "./problems.js";
import { resolveJob } from "./resolve.js";
import type { JobSpec } from "./spec.js";

const dataset = { source: "flowers" };

function problemsOf(spec: JobSpec): string[] {
  try {
    resolveJob(spec);
  } catch (error) {
    assert(error instanceof CodedError && error.code === "SPEC_INVALID", String(error));
    const lines = (error.details["problems"] as readonly Problem[]).map(({ path, message }) => `${path}: ${message}`);
    for (const line of lines) assert(error.message.includes(line), "the message lists every problem");
    return lines;
  }
  return [];
}

describe("resolveJob", () => {
  test("fills in the whole default recipe", () => {
    assert.deepEqual(resolveJob({ dataset }), {
      dataset: { source: "flowers", split: { trainPercent: 80, validationPercent: 10, testPercent: 10, seed: 1 }, maxRejectedPercent: 1 },
      backbone: { name: "mobilenet_v2_1.0_224", digest: undefined, lastLayer: undefined },
      preprocessing: {},
      cut: undefined,
      views: { count: 1, augmentation: undefined },
      head: { layers: [], initializer: { kind: "glorotUniform" }, initialFromClass: undefined },
      initialWeights: { kind: "backbone" },
      training: {
        length: { epochs: 100 },
        batchSize: 96,
        grains: 8,
        optimizer: { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: false },
        schedule: { warmupSteps: 0, kind: "cosine", finalFraction: 0 },
        learningRateMultipliers: [],
        weightDecay: 0.001,
        weightDecayExempt: [],
        loss: { kind: "softmax", labelSmoothing: 0 },
        classWeights: { kind: "none" },
        sampling: "SHUFFLED",
        batchNorm: "FROZEN",
        batchNormMomentum: 0.99,
        featureMemoryMib: 4096,
        evaluateEvery: { times: 20 },
        earlyStopping: undefined,
        seed: 42,
      },
      minimumAccuracy: 0,
      extractors: { min: 0, max: 1 },
      trainers: { min: 1, max: 1 },
      engines: { extraction: undefined, training: undefined },
      numericsProfile: "PINNED",
      cacheDomain: "",
    });
  });

  test("keeps what is given", () => {
    const job = resolveJob({
      dataset: {
        source: "x.csv",
        split: { trainPercent: 33.3, validationPercent: 33.3, testPercent: 33.4, seed: 0 },
        maxRejectedPercent: 0,
      },
      backbone: { name: "mine", digest: "0f".repeat(32) },
      preprocessing: {
        size: 150,
        resize: "SHORT_SIDE",
        resizeTo: 160,
        crop: "CENTER",
        channels: "BGR",
        mean: [1, 2, 3],
        deviation: [1, 1, 1],
      },
      cut: "mixed7",
      head: {
        layers: [{ dropout: { rate: 0 } }, { dense: { units: 128, activation: "NONE" } }, { dense: { units: 4 } }],
        initializer: { truncatedNormal: {} },
      },
      training: {
        steps: 500,
        batchSize: 64,
        grains: 32,
        optimizer: { sgd: { momentum: 0.5, nesterov: true } },
        schedule: { warmupSteps: 499, step: { everySteps: 100 } },
        learningRateMultipliers: [{ layers: "head/*", factor: 0 }],
        loss: "SIGMOID_CROSS_ENTROPY",
        classWeights: { given: { weights: { roses: 2 } } },
        evaluateEverySteps: 10,
        earlyStopping: { patienceEvaluations: 3 },
        seed: 2147483647,
      },
      trainers: { max: 4 },
      extractors: { min: 3 },
    });
    assert.deepEqual(job.preprocessing, {
      size: 150,
      resize: "SHORT_SIDE",
      resizeTo: 160,
      channels: "BGR",
      mean: [1, 2, 3],
      deviation: [1, 1, 1],
    });
    assert.deepEqual(job.head, {
      layers: [
        { kind: "dropout", rate: 0 },
        { kind: "dense", units: 128, activation: "NONE" },
        { kind: "dense", units: 4, activation: "RELU" },
      ],
      initializer: { kind: "truncatedNormal", stddev: 0.001 },
      initialFromClass: undefined,
    });
    assert.deepEqual(job.training.length, { steps: 500 });
    assert.deepEqual(job.training.optimizer, { kind: "sgd", learningRate: 0.01, momentum: 0.5, nesterov: true });
    assert.deepEqual(job.training.schedule, { warmupSteps: 499, kind: "step", everySteps: 100, factor: 0.1 });
    assert.deepEqual(job.training.loss, { kind: "sigmoid", labelSmoothing: 0 });
    assert.deepEqual(job.training.classWeights, { kind: "given", weights: { roses: 2 } });
    assert.deepEqual(job.training.evaluateEvery, { steps: 10 });
    assert.deepEqual(job.training.earlyStopping, { patienceEvaluations: 3, minimumDelta: 0 });
    assert.deepEqual(
      [job.trainers, job.extractors],
      [
        { min: 1, max: 4 },
        { min: 3, max: 3 },
      ],
    );
  });

  test.each<[NonNullable<JobSpec["training"]>, Partial<Recipe>]>([
    [{ optimizer: {} }, { optimizer: { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: false } }],
    [{ optimizer: { sgd: { nesterov: true } } }, { optimizer: { kind: "sgd", learningRate: 0.01, momentum: 0.9, nesterov: true } }],
    [{ optimizer: { rmsprop: {} } }, { optimizer: { kind: "rmsprop", learningRate: 0.001, decay: 0.9, momentum: 0, epsilon: 1e-7 } }],
    [{ optimizer: { adam: {} } }, { optimizer: { kind: "adam", learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 } }],
    [
      { optimizer: { adamw: { beta1: 0.8 } } },
      { optimizer: { kind: "adamw", learningRate: 0.001, beta1: 0.8, beta2: 0.999, epsilon: 1e-7 } },
    ],
    [{ schedule: { warmupSteps: 3 } }, { schedule: { warmupSteps: 3, kind: "cosine", finalFraction: 0 } }],
    [{ schedule: { cosine: { finalFraction: 0.5 } } }, { schedule: { warmupSteps: 0, kind: "cosine", finalFraction: 0.5 } }],
    [{ schedule: { constant: {} } }, { schedule: { warmupSteps: 0, kind: "constant" } }],
    [{ evaluateEveryEpochs: 0.5 }, { evaluateEvery: { epochs: 0.5 } }],
  ])("%j is completed with the defaults of what was chosen", (given, expected) => {
    const whole = resolveJob({ dataset });
    assert.deepEqual(resolveJob({ dataset, training: given }), { ...whole, training: { ...whole.training, ...expected } });
  });

  test.each([
    [96, 8],
    [16, 8],
    [15, 4],
    [5, 2],
    [2, 1],
  ])("a batch of %i rows has %i grains by default: two rows each", (batchSize, grains) => {
    assert.equal(resolveJob({ dataset, training: { batchSize } }).training.grains, grains);
  });

  test("reports all problems at once", () => {
    assert.deepEqual(
      problemsOf({
        dataset: { split: { trainPercent: 90, seed: -1 }, maxRejectedPercent: 101 },
        backbone: { name: " ", digest: "ABC" },
        training: { batchSize: 1, optimizer: { adam: { learningRate: 0 } }, labelSmoothing: 1, seed: 2147483648 },
        minimumAccuracy: 80,
      }),
      [
        "training.batchSize: must be a whole number between 2 and 65536, found 1",
        "training.optimizer.adam.learningRate: must be > 0, found 0",
        "training.labelSmoothing: must be >= 0 and < 1, found 1",
        "training.seed: must be a whole number between 0 and 2147483647, found 2147483648",
        "dataset.source: is required: a folder with one folder for each class, or a manifest (.csv, .jsonl)",
        "dataset.split: must add up to 100, found 90 + 10 + 10 = 110 (with the defaults of what was left out)",
        "dataset.split.seed: must be a whole number between 0 and 2147483647, found -1",
        "dataset.maxRejectedPercent: must be between 0 and 100, found 101",
        "backbone.name: must not be empty",
        'backbone.digest: must be 64 lower-case hex digits, found "ABC"; `graft backbone list` shows digests',
        "minimumAccuracy: must be between 0 and 1, found 80",
      ],
    );
  });

  test("stretching may go on to a crop, as it may with SHORT_SIDE", () => {
    const preprocessing = { size: 224, resize: "STRETCH", resizeTo: 256, crop: "CENTER" } as const;
    assert.deepEqual(resolveJob({ dataset, preprocessing }).preprocessing, { size: 224, resize: "STRETCH", resizeTo: 256 });
    assert.deepEqual(resolveJob({ dataset, preprocessing: { resize: "STRETCH" } }).preprocessing, { resize: "STRETCH" });
  });

  const training = (given: NonNullable<JobSpec["training"]>): JobSpec => ({ dataset, training: given });
  test.each<[JobSpec, string]>([
    [{ dataset: { source: "" } }, "dataset.source: must not be empty"],
    [
      { dataset: { ...dataset, split: { trainPercent: 0, validationPercent: 50, testPercent: 50 } } },
      "dataset.split.trainPercent: must be > 0",
    ],
    [
      { dataset: { ...dataset, split: { trainPercent: 100, validationPercent: -10, testPercent: 10 } } },
      "dataset.split.validationPercent: must be between 0 and 100",
    ],
    [{ dataset, preprocessing: { resize: "SHORT_SIDE" } }, "preprocessing.resizeTo: is required"],
    [{ dataset, preprocessing: { resizeTo: 256 } }, "preprocessing.resizeTo: needs resize beside it"],
    [{ dataset, preprocessing: { crop: "CENTER" } }, "preprocessing.crop: needs resize beside it"],
    [
      { dataset, preprocessing: { size: 224, resize: "STRETCH", resizeTo: 200 } },
      "preprocessing.resizeTo: must be at least size (224), found 200",
    ],
    [
      { dataset, preprocessing: { size: 224, resize: "SHORT_SIDE", resizeTo: 200 } },
      "preprocessing.resizeTo: must be at least size (224), found 200",
    ],
    [{ dataset, preprocessing: { mean: [1, 2] } }, "preprocessing.mean: must have three values, one a channel; found 2"],
    [{ dataset, preprocessing: { deviation: [1, 0, 1] } }, "preprocessing.deviation[1]: must be > 0, found 0"],
    [{ dataset, cut: "" }, "cut: must not be empty"],
    [{ dataset, head: { layers: [{}] } }, "head.layers[0]: needs one of dense, dropout"],
    [{ dataset, head: { layers: [{ dense: {} }] } }, "head.layers[0].dense.units: is required"],
    [
      { dataset, head: { layers: [{ dense: { units: 0 } }] } },
      "head.layers[0].dense.units: must be a whole number between 1 and 65536, found 0",
    ],
    [{ dataset, head: { layers: [{ dropout: { rate: 1 } }] } }, "head.layers[0].dropout.rate: must be >= 0 and < 1, found 1"],
    [
      { dataset, head: { layers: [{ dropout: { rate: 0.5 }, dense: { units: 2 } }] } },
      "head.layers[0]: dense and dropout exclude each other",
    ],
    [{ dataset, head: { initializer: { zeros: {}, glorotUniform: {} } } }, "head.initializer: zeros and glorotUniform exclude each other"],
    [
      { dataset, head: { initializer: { truncatedNormal: { stddev: 0 } } } },
      "head.initializer.truncatedNormal.stddev: must be > 0, found 0",
    ],
    [training({ epochs: 1, steps: 1 }), "training: epochs and steps exclude each other"],
    [training({ epochs: 0 }), "training.epochs: must be > 0, found 0"],
    [training({ epochs: 1e7 }), "training.epochs: must be at most 1,000,000, found 10000000"],
    [training({ steps: 1.5 }), "training.steps: must be a whole number between 1 and 2147483647, found 1.5"],
    [training({ batchSize: Number.NaN }), "training.batchSize: must be a whole number between 2 and 65536, found NaN"],
    [training({ grains: 3 }), "training.grains: must be a power of two (1, 2, 4, …), found 3"],
    [training({ grains: 2 ** 32 + 1 }), "training.grains: must be"],
    [training({ grains: 64 }), "training.grains: must be at most half of batchSize (96), found 64: every grain needs two rows"],
    [training({ optimizer: { sgd: {}, adam: {} } }), "training.optimizer: sgd and adam exclude each other"],
    [training({ optimizer: { sgd: { learningRate: Infinity } } }), "training.optimizer.sgd.learningRate: must be > 0, found Infinity"],
    [training({ optimizer: { sgd: { momentum: 0, nesterov: true } } }), "training.optimizer.sgd.nesterov: needs a momentum > 0"],
    [training({ optimizer: { rmsprop: { decay: 1 } } }), "training.optimizer.rmsprop.decay: must be >= 0 and < 1, found 1"],
    [training({ optimizer: { adamw: { beta2: 1 } } }), "training.optimizer.adamw.beta2: must be >= 0 and < 1, found 1"],
    [training({ schedule: { cosine: {}, constant: {} } }), "training.schedule: cosine and constant exclude each other"],
    [training({ schedule: { cosine: { finalFraction: 2 } } }), "training.schedule.cosine.finalFraction: must be between 0 and 1, found 2"],
    [training({ schedule: { step: {} } }), "training.schedule.step.everySteps: is required"],
    [training({ schedule: { exponential: { decaySteps: 10, rate: 0 } } }), "training.schedule.exponential.rate: must be > 0, found 0"],
    [
      training({ steps: 10, schedule: { warmupSteps: 10 } }),
      "training.schedule.warmupSteps: must be less than training.steps (10), found 10",
    ],
    [training({ learningRateMultipliers: [{ factor: 1 }] }), "training.learningRateMultipliers[0].layers: is required"],
    [
      training({ learningRateMultipliers: [{ layers: "a", factor: -1 }] }),
      "training.learningRateMultipliers[0].factor: must be >= 0, found -1",
    ],
    [training({ weightDecay: -1 }), "training.weightDecay: must be >= 0, found -1"],
    [training({ weightDecayExempt: [""] }), "training.weightDecayExempt[0]: must not be empty"],
    [training({ classWeights: {} }), "training.classWeights: needs one of balanced, given"],
    [training({ classWeights: { given: {} } }), "training.classWeights.given.weights: needs at least one class"],
    [training({ classWeights: { given: { weights: { "a b": 0 } } } }), 'training.classWeights.given.weights["a b"]: must be > 0, found 0'],
    [
      training({ evaluateEverySteps: 1, evaluateEveryEpochs: 1 }),
      "training: evaluateEverySteps and evaluateEveryEpochs exclude each other",
    ],
    [training({ evaluateEverySteps: 0 }), "training.evaluateEverySteps: must be a whole number"],
    [training({ earlyStopping: {} }), "training.earlyStopping.patienceEvaluations: is required"],
    [{ dataset, trainers: { min: 3, max: 2 } }, "trainers.max: must be at least min (3), found 2"],
    [{ dataset, trainers: { min: 0 } }, "trainers.min: must be at least 1, found 0"],
    [{ dataset, trainers: { min: 9 } }, "trainers.min: must be at most the number of grains (8), found 9"],
    [{ dataset, extractors: { max: 0 } }, "extractors.max: must be a whole number between 1 and 4096, found 0"],
    [
      { dataset, cacheDomain: "" },
      'cacheDomain: must be at most 63 lower-case letters, digits and "-", with no "-" at either end; found ""',
    ],
    [{ dataset, cacheDomain: "../b" }, 'found "../b"'],
    [{ dataset, cacheDomain: "a-" }, 'found "a-"'],
    [{ dataset, cacheDomain: "a\n" }, 'found "a\\n"'],
  ])("%j is refused", (spec, expected) => {
    const problems = problemsOf(spec);
    assert.equal(problems.length, 1, problems.join("\n"));
    expect(problems[0]).toContain(expected);
  });

  test.each<[JobSpec, string]>([
    [{ dataset: { ...dataset, credentialsSecret: "x" } }, "dataset.credentialsSecret"],
    [{ dataset, extractors: { pod: {} } }, "extractors.pod"],
    [{ dataset, trainers: { pod: {} } }, "trainers.pod"],
    [{ dataset, activeDeadlineSeconds: 60 }, "activeDeadlineSeconds"],
    [{ dataset, ttlSecondsAfterFinished: 0 }, "ttlSecondsAfterFinished"],
    [{ dataset, backoffLimit: 0 }, "backoffLimit"],
    [{ dataset, deletionPolicy: "DELETE" }, "deletionPolicy"],
  ])("%j is refused where one process runs the job", (spec, path) => {
    const problems = problemsOf(spec);
    assert.equal(problems.length, 1, problems.join("\n"));
    expect(problems[0]).toContain(`${path}: not supported where one process runs the job; `);
  });

  test("only a job that a coordinator carries out may begin suspended", () => {
    expect(problemsOf({ dataset, suspend: true })).toEqual([
      'suspend: not supported where one process runs the job; leave it out, or give the job to a server with "graft submit"',
    ]);
    assert.deepEqual(resolveJob({ dataset, suspend: true }, "job", "coordinator"), resolveJob({ dataset }));
  });

  test("a job has the cache domain that it names, or none", () => {
    const domains = [undefined, "a", "team-7", "a".repeat(63)].map((cacheDomain) =>
      resolveJob({ dataset, ...(cacheDomain && { cacheDomain }) }),
    );
    assert.deepEqual(
      domains.map(({ cacheDomain }) => cacheDomain),
      ["", "a", "team-7", "a".repeat(63)],
    );
  });

  test("what training starts from: one thing, with prefixes only where names come from a file", () => {
    const from = (spec: Partial<JobSpec>) => problemsOf({ dataset, ...spec });
    assert.deepEqual(resolveJob({ dataset, initialWeights: { random: {} } }).initialWeights, { kind: "random" });
    assert.deepEqual(resolveJob({ dataset, initialWeights: { fromResult: "out", prefix: { strip: "net." } } }).initialWeights, {
      kind: "result",
      from: "out",
      strip: "net.",
      add: "",
    });
    expect(from({ initialWeights: { fromResult: "out", random: {} } })).toEqual([
      "initialWeights: fromResult and random exclude each other; keep one of them",
    ]);
    expect(from({ initialWeights: { prefix: { add: "x" } } })).toEqual(["initialWeights.prefix: needs fromResult beside it"]);
    expect(from({ initialWeights: { fromResult: "out" }, head: { initialFromClass: "daisy" } })[0]).toMatch(
      /^head.initialFromClass: excludes/u,
    );
    expect(from({ trainers: { engine: "keras" } })).toEqual(['trainers.engine: must be one of onnx, tensorflow, found "keras"']);
  });

  test("what is not supported may be said where it asks for nothing", () => {
    const spec: JobSpec = {
      dataset,
      head: { initialFromClass: "" },
      initialWeights: {},
      numericsProfile: "PINNED",
      suspend: false,
      deletionPolicy: "RETAIN",
    };
    assert.deepEqual(resolveJob(spec), resolveJob({ dataset }));
  });
});
