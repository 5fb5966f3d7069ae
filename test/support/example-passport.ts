import type { Passport } from "../../formats/passport/passport.js";

const profile = { engine: "onnx", engineVersion: "1.30.0", device: "cpu", instructionSet: "avx512", threads: 0, batch: 8, decoder: "" };

/** A passport with every field, for tests. */
export const examplePassport: Passport = {
  formatVersion: 1,
  spec: {
    dataset: { split: { trainPercent: 80, validationPercent: 10, testPercent: 10, seed: 1 }, maxRejectedPercent: 1 },
    preprocessing: {},
    cut: undefined,
    head: { layers: [], initializer: { kind: "glorotUniform" } },
    training: {
      length: { epochs: 30 },
      batchSize: 96,
      grains: 8,
      optimizer: { kind: "adam", learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
      schedule: { warmupSteps: 0, kind: "constant" },
      learningRateMultipliers: [],
      weightDecay: 0,
      weightDecayExempt: [],
      loss: { kind: "softmax", labelSmoothing: 0 },
      classWeights: { kind: "none" },
      sampling: "SHUFFLED",
      batchNorm: "FROZEN",
      evaluateEvery: { epochs: 1 },
      earlyStopping: undefined,
      seed: 42,
    },
    minimumAccuracy: 0,
    numericsProfile: "PINNED",
  },
  dataset: {
    digest: "11".repeat(32),
    rows: 1248,
    classes: ["daisy", "dandelion", "roses", "sunflowers", "tulips"],
    counts: { train: [200, 200, 199, 200, 200], validation: [25, 24, 25, 25, 25], test: [25, 25, 25, 25, 25] },
    rejectedCount: 1,
    duplicateCount: 1,
    conflictCount: 0,
  },
  backbone: { name: "mobilenet_v2_1.0_224", digest: "22".repeat(32), origin: "https://example.org/weights", licence: "Apache-2.0" },
  cut: "global_average_pool",
  features: {
    formatVersion: 1,
    backboneDigest: "22".repeat(32),
    cut: "global_average_pool",
    shape: [1280],
    preprocessing: { size: 224, resize: "STRETCH", resizeTo: 224, channels: "RGB", mean: [127.5, 127.5, 127.5], deviation: [127.5, 127.5, 127.5] },
    dtype: "float32",
    profile: { ...profile, decoder: "sharp 0.35.5" },
  },
  featureSpecDigest: "33".repeat(32),
  training: { profile, profilePinned: true, grains: 8, batchSize: 96, steps: 313, exportedStep: 313, parameters: 6405 },
  versions: { graft: "0.1.0", node: "20.20.0", engine: "onnxruntime-node 1.30.0" },
  weightsSha256: "44".repeat(32),
  files: { "model.onnx": "55".repeat(32), "tfjs/model.json": "66".repeat(32), "labels.txt": "77".repeat(32) },
};
