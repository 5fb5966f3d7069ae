import { defaults } from "./defaults.js";
import { type FieldCheck, fraction, integer, nonNegative, positive, type Range, seedNumber, shareBelowOne } from "./field-check.js";
import type { Optimizer, Recipe, Schedule } from "./job.js";
import { limits } from "../limits.js";
import { grainCount } from "../training/grains.js";
import { isPowerOfTwo } from "../training/tree.js";
import type { OptimizerSpec, ScheduleSpec, TrainingSpec } from "./spec.js";

/** Bounded, so that a number of steps stays exact: epochs x rows is below 2^53 for any listing. */
function epochCount(given: number | undefined): Range {
  const atMost: Range = { text: "at most 1,000,000", holds: (value) => value <= 1e6 };
  return given !== undefined && given > 1 ? atMost : positive;
}

/** The recipe with its defaults; problems go to `check` with paths under `training`. */
export function resolveRecipe(given: TrainingSpec, check: FieldCheck): Recipe {
  const path = "training";
  check.atMostOne(path, { epochs: given.epochs, steps: given.steps });
  check.atMostOne(path, { evaluateEverySteps: given.evaluateEverySteps, evaluateEveryEpochs: given.evaluateEveryEpochs });
  const steps = check.optional(`${path}.steps`, given.steps, integer(1));
  const epochs = check.number(`${path}.epochs`, given.epochs, defaults.epochs, epochCount(given.epochs));
  const batchSize = check.number(`${path}.batchSize`, given.batchSize, defaults.batchSize, integer(2, 65_536));
  const evaluateSteps = check.optional(`${path}.evaluateEverySteps`, given.evaluateEverySteps, integer(1));
  const evaluateEpochs = check.optional(`${path}.evaluateEveryEpochs`, given.evaluateEveryEpochs, epochCount(given.evaluateEveryEpochs));
  return {
    length: steps === undefined ? { epochs } : { steps },
    batchSize,
    grains: resolveGrains(given.grains, batchSize, check),
    optimizer: resolveOptimizer(given.optimizer ?? {}, check),
    schedule: resolveSchedule(given.schedule ?? {}, steps, check),
    learningRateMultipliers: (given.learningRateMultipliers ?? []).map((entry, index) => {
      const at = `${path}.learningRateMultipliers[${index}]`;
      if (entry.layers === undefined) check.report(`${at}.layers`, 'is required: a pattern of layer names such as "head/*"');
      return {
        layers: check.text(`${at}.layers`, entry.layers, "?"),
        factor: check.required(`${at}.factor`, entry.factor, nonNegative, 1),
      };
    }),
    weightDecay: check.number(`${path}.weightDecay`, given.weightDecay, defaults.weightDecay, nonNegative),
    weightDecayExempt: (given.weightDecayExempt ?? []).map((pattern, index) =>
      check.text(`${path}.weightDecayExempt[${index}]`, pattern, ""),
    ),
    loss: {
      kind: (given.loss ?? defaults.loss) === "SIGMOID_CROSS_ENTROPY" ? "sigmoid" : "softmax",
      labelSmoothing: check.number(`${path}.labelSmoothing`, given.labelSmoothing, defaults.labelSmoothing, shareBelowOne),
    },
    classWeights: resolveClassWeights(given.classWeights, check),
    sampling: given.sampling ?? defaults.sampling,
    batchNorm: given.batchNorm ?? defaults.batchNorm,
    batchNormMomentum: check.number(`${path}.batchNormMomentum`, given.batchNormMomentum, defaults.batchNormMomentum, shareBelowOne),
    featureMemoryMib: check.number(
      `${path}.featureMemoryMib`,
      given.featureMemoryMib,
      defaults.featureMemoryMib,
      integer(1, limits.residentFeatureMib),
    ),
    evaluateEvery:
      evaluateSteps !== undefined
        ? { steps: evaluateSteps }
        : evaluateEpochs !== undefined
          ? { epochs: evaluateEpochs }
          : { times: defaults.evaluations },
    earlyStopping: resolveEarlyStopping(given.earlyStopping, check),
    seed: check.number(`${path}.seed`, given.seed, defaults.seed, seedNumber),
  };
}

/** Every grain needs two rows. Without a wish: the default, halved until it fits the batch. */
function resolveGrains(given: number | undefined, batchSize: number, check: FieldCheck): number {
  const grains = grainCount(batchSize, defaults.grains, 0);
  if (given === undefined) return grains;
  const powerOfTwo: Range = { text: "a power of two (1, 2, 4, …)", holds: isPowerOfTwo };
  if (check.optional("training.grains", given, powerOfTwo) === undefined) return grains;
  if (batchSize < 2 * given) {
    check.report("training.grains", `must be at most half of batchSize (${batchSize}), found ${given}: every grain needs two rows`);
    return grains;
  }
  return given;
}

function resolveOptimizer(given: OptimizerSpec, check: FieldCheck): Optimizer {
  const path = "training.optimizer";
  check.atMostOne(path, { ...given });
  if (given.rmsprop !== undefined) {
    const at = `${path}.rmsprop`;
    const { learningRate, decay, momentum, epsilon } = given.rmsprop;
    return {
      kind: "rmsprop",
      learningRate: check.number(`${at}.learningRate`, learningRate, defaults.rmsprop.learningRate, positive),
      decay: check.number(`${at}.decay`, decay, defaults.rmsprop.decay, shareBelowOne),
      momentum: check.number(`${at}.momentum`, momentum, defaults.rmsprop.momentum, shareBelowOne),
      epsilon: check.number(`${at}.epsilon`, epsilon, defaults.rmsprop.epsilon, positive),
    };
  }
  for (const kind of ["adam", "adamw"] as const) {
    const settings = given[kind];
    if (settings === undefined) continue;
    const at = `${path}.${kind}`;
    return {
      kind,
      learningRate: check.number(`${at}.learningRate`, settings.learningRate, defaults[kind].learningRate, positive),
      beta1: check.number(`${at}.beta1`, settings.beta1, defaults[kind].beta1, shareBelowOne),
      beta2: check.number(`${at}.beta2`, settings.beta2, defaults[kind].beta2, shareBelowOne),
      epsilon: check.number(`${at}.epsilon`, settings.epsilon, defaults[kind].epsilon, positive),
    };
  }
  const kind = defaults.optimizer;
  const at = `${path}.${kind}`;
  const momentum = check.number(`${at}.momentum`, given.sgd?.momentum, defaults.sgd.momentum, shareBelowOne);
  const nesterov = given.sgd?.nesterov ?? defaults.sgd.nesterov;
  if (nesterov && momentum === 0) check.report(`${at}.nesterov`, "needs a momentum > 0 beside it");
  return {
    kind,
    learningRate: check.number(`${at}.learningRate`, given.sgd?.learningRate, defaults.sgd.learningRate, positive),
    momentum,
    nesterov,
  };
}

function resolveSchedule(given: ScheduleSpec, steps: number | undefined, check: FieldCheck): Schedule {
  const path = "training.schedule";
  const { warmupSteps: warmup, ...kinds } = given;
  check.atMostOne(path, kinds);
  const warmupSteps = check.number(`${path}.warmupSteps`, warmup, defaults.warmupSteps, integer(0));
  if (steps !== undefined && warmupSteps >= steps && warmupSteps > 0) {
    check.report(`${path}.warmupSteps`, `must be less than training.steps (${steps}), found ${warmupSteps}`);
  }
  if (given.constant !== undefined) return { warmupSteps, kind: "constant" };
  if (given.step !== undefined) {
    const everySteps = check.required(`${path}.step.everySteps`, given.step.everySteps, integer(1), 1);
    return {
      warmupSteps,
      kind: "step",
      everySteps,
      factor: check.number(`${path}.step.factor`, given.step.factor, defaults.step.factor, positive),
    };
  }
  if (given.exponential !== undefined) {
    const decaySteps = check.required(`${path}.exponential.decaySteps`, given.exponential.decaySteps, integer(1), 1);
    const rate = check.number(`${path}.exponential.rate`, given.exponential.rate, defaults.exponential.rate, positive);
    return { warmupSteps, kind: "exponential", decaySteps, rate };
  }
  const finalFraction = check.number(`${path}.cosine.finalFraction`, given.cosine?.finalFraction, defaults.cosine.finalFraction, fraction);
  return { warmupSteps, kind: defaults.schedule, finalFraction };
}

function resolveClassWeights(given: TrainingSpec["classWeights"], check: FieldCheck): Recipe["classWeights"] {
  if (given === undefined) return { kind: "none" };
  check.exactlyOne("training.classWeights", { balanced: given.balanced, given: given.given });
  if (given.given === undefined) return { kind: "balanced" };
  const weights = given.given.weights ?? {};
  if (Object.keys(weights).length === 0) check.report("training.classWeights.given.weights", "needs at least one class with its weight");
  for (const [name, weight] of Object.entries(weights))
    check.optional(`training.classWeights.given.weights[${JSON.stringify(name)}]`, weight, positive);
  return { kind: "given", weights };
}

function resolveEarlyStopping(given: TrainingSpec["earlyStopping"], check: FieldCheck): Recipe["earlyStopping"] {
  if (given === undefined) return undefined;
  const path = "training.earlyStopping";
  return {
    patienceEvaluations: check.required(`${path}.patienceEvaluations`, given.patienceEvaluations, integer(1), 1),
    minimumDelta: check.number(`${path}.minimumDelta`, given.minimumDelta, defaults.minimumDelta, nonNegative),
  };
}
