/**
 * The default recipe: what a job does where its spec says nothing. The one place to tune it; the documentation in proto/graft/v1/job.proto and docs/job-file.md names the same values.
 */
export const defaults = {
  split: { trainPercent: 80, validationPercent: 10, testPercent: 10, seed: 1 },
  maxRejectedPercent: 1,
  backbone: "mobilenet_v2_1.0_224",
  views: 1,
  randomResizedCrop: { minScale: 0.08, maxScale: 1, minAspect: 0.75, maxAspect: 1.3333 },
  /** With sgd, momentum, cosine and this decay the head comes close to the optimum of a regularised logistic regression on features of any scale. */
  epochs: 100,
  batchSize: 96,
  /** Less where the batch is too small for two rows a grain. */
  grains: 8,
  optimizer: "sgd",
  sgd: { learningRate: 0.01, momentum: 0.9, nesterov: false },
  rmsprop: { learningRate: 0.001, decay: 0.9, momentum: 0, epsilon: 1e-7 },
  adam: { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
  adamw: { learningRate: 0.001, beta1: 0.9, beta2: 0.999, epsilon: 1e-7 },
  schedule: "cosine",
  warmupSteps: 0,
  cosine: { finalFraction: 0 },
  step: { factor: 0.1 },
  exponential: { rate: 0.9 },
  truncatedNormal: { stddev: 0.001 },
  activation: "RELU",
  weightDecay: 0.001,
  loss: "SOFTMAX_CROSS_ENTROPY",
  labelSmoothing: 0,
  sampling: "SHUFFLED",
  batchNorm: "FROZEN",
  batchNormMomentum: 0.99,
  /** Fits any machine that trains in earnest, and holds 800,000 pictures of 1,280 features. */
  featureMemoryMib: 4096,
  /** Evenly over the training, the last step included. */
  evaluations: 20,
  minimumDelta: 0,
  seed: 42,
  minimumAccuracy: 0,
  numericsProfile: "PINNED",
  deletionPolicy: "RETAIN",
  extractors: { min: 0, max: 1 },
  trainers: { min: 1, max: 1 },
} as const;
