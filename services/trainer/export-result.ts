import { CodedError } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { Milestone } from "../../domain/job/records.js";
import { appendNetwork } from "../../domain/network/compose.js";
import { INPUT, type Network, type Weights } from "../../domain/network/network.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { weightSpecs } from "../../domain/network/shapes.js";
import { classScores, confusionMatrix, misclassifiedRows, predictClasses, probabilitiesOf } from "../../domain/training/evaluation.js";
import { tensorsOf, weightsSha256 } from "../../domain/training/parameters.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import { version } from "../../domain/version.js";
import { encodeMetrics, noSplit, type Metrics, type SplitMetrics } from "../../formats/metrics/metrics.js";
import { encodeOnnx } from "../../formats/onnx/encode-network.js";
import { encodeLabels } from "../../formats/passport/labels.js";
import { encodePassport, passportSpec, passportVersion, type Passport } from "../../formats/passport/passport.js";
import { encodeTrainedWeights } from "../../formats/passport/trained-weights.js";
import { renderReport } from "../../formats/report/report.js";
import { encodeEventFile, eventFileName } from "../../formats/tensorboard/event-file.js";
import { trainingEvent } from "../../formats/tensorboard/training-events.js";
import { encodeTfjs } from "../../formats/tfjs/encode.js";
import type { StoredBackbone } from "../../platform/backbone-store/backbone-store.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Engine } from "../../platform/engine/engine.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import type { Evaluator, SplitSums } from "./evaluator.js";
import { misclassifiedPictures, samplePictures } from "./report-pictures.js";
import type { JobFacts } from "./job-facts.js";
import type { RowSource } from "./row-sources.js";
import type { SplitRows, TrainingSet } from "./training-set.js";
import type { TrainingState } from "./training-state.js";

export interface FinishedTraining {
  readonly job: JobObjects;
  readonly facts: JobFacts;
  readonly backbone: StoredBackbone;
  /** The frozen network up to the cut. */
  readonly prefix: Network;
  readonly preprocessing: Preprocessing;
  /** The last layer of the backbone that is used. */
  readonly lastLayer: string;
  readonly plan: TrainingPlan;
  readonly state: TrainingState;
  readonly set: TrainingSet;
  readonly source: RowSource;
  readonly features: JobFeatures;
  readonly evaluator: Evaluator;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly millisecondsPerStep: number | null;
  /** Ends the export between two of its pieces. */
  readonly signal: AbortSignal;
  /** Called between evaluation and export. */
  readonly onExport: () => Promise<void>;
  readonly milestone: (milestone: Milestone) => void;
}

/**
 * Evaluates what was trained and writes the result of the job. Every file is a function of the facts and the final state, so an export that was cut off begins anew.
 * @throws CodedError ACCURACY_TOO_LOW below `minimumAccuracy`; then nothing is exported.
 */
export async function exportResult(finished: FinishedTraining): Promise<void> {
  const { job, facts, plan, state, set, source, evaluator, signal, milestone } = finished;
  const { step: exportedStep, ...exported } = state.exported;
  const tensors = new Map([...tensorsOf(plan.layout, exported.parameters), ...tensorsOf(plan.statisticsLayout, exported.statistics)]);

  // 1. Evaluate on whole splits.
  const train = await evaluator.evaluateSplit(source.split("train", signal), exported);
  const validation = set.validation.rows > 0 ? await evaluator.evaluateSplit(source.split("validation", signal), exported) : undefined;
  const test = set.test.rows > 0 ? await evaluator.evaluateSplit(source.split("test", signal), exported) : undefined;
  milestone("after evaluation");
  signal.throwIfAborted();
  const judged =
    test !== undefined
      ? { split: "test" as const, sums: test, rows: set.test }
      : validation && { split: "validation" as const, sums: validation, rows: set.validation };
  const { minimumAccuracy } = facts.record.job;
  if (judged !== undefined && judged.sums.correct / judged.sums.count < minimumAccuracy) {
    throw new CodedError(
      "ACCURACY_TOO_LOW",
      `${judged.split} accuracy ${(judged.sums.correct / judged.sums.count).toFixed(3)} (N=${String(judged.sums.count)}), at least ${String(minimumAccuracy)} was asked for (minimumAccuracy); nothing is exported, the checkpoint is kept`,
    );
  }
  await finished.onExport();

  // 2. The files that depend on the weights.
  const classified = judged && classify(plan, judged.rows, judged.sums);
  const metrics = metricsOf(
    finished,
    { train, validation, test },
    judged && classified && { split: judged.split, matrix: classified.confusion },
    weightsSha256(tensors),
  );
  const { backbone, digest } = finished.backbone;
  const { preprocessing } = finished;
  const whole = exportedNetwork(finished);
  const weights = weightsOf(whole, backbone.weights, tensors);
  const firstWallSeconds = (state.history[0]?.wallMs ?? facts.record.submittedMs) / 1000;
  const files = new Map<string, Uint8Array>([
    [
      "model.onnx",
      encodeOnnx(whole, weights, {
        preprocessing,
        batch: "N",
        outputName: "probabilities",
        metadata: { labels: JSON.stringify(plan.classes) },
      }),
    ],
    ...[...encodeTfjs(whole, weights, { preprocessing, labels: plan.classes, version })].map(([name, bytes]): [string, Uint8Array] => [
      `tfjs/${name}`,
      bytes,
    ]),
    [
      "weights.safetensors",
      encodeTrainedWeights(tensors, { backbone: backbone.name, backboneDigest: digest, cut: facts.plan.cut, classes: plan.classes }),
    ],
    ["labels.txt", utf8(encodeLabels(plan.classes))],
    ["metrics.json", utf8(encodeMetrics(metrics))],
    // Named by a time that all exporters of a job share: one that is cut off leaves no second file.
    [`events/${eventFileName(facts.record.submittedMs / 1000)}`, eventsOf(finished, firstWallSeconds)],
  ]);

  // 3. The passport names them all; the report shows it.
  const passport = passportOf(finished, exportedStep, weightsSha256(tensors), files);
  files.set("passport.json", encodePassport(passport));
  files.set("report.html", utf8(await reportOf(finished, passport, metrics, classified)));
  for (const [name, bytes] of files) {
    signal.throwIfAborted();
    await job.putResult(name, bytes);
    milestone("mid export");
  }
}

/** Backbone below the cut, tail, head and the activation that makes probabilities. */
function exportedNetwork({ prefix, plan, facts }: FinishedTraining): Network {
  const { kind } = plan.recipe.loss;
  const activation: Network = {
    name: "probabilities",
    inputShape: [plan.outputs],
    layers: [{ kind, name: "head/probabilities", inputs: [INPUT] }],
    output: "head/probabilities",
  };
  return { ...appendNetwork(appendNetwork(prefix, plan.trainable), activation), name: facts.record.name };
}

function weightsOf(network: Network, backbone: Weights, trained: Weights): Weights {
  return new Map(
    weightSpecs(network).map(({ name }) => {
      const tensor = trained.get(name) ?? backbone.get(name);
      if (tensor === undefined) throw new CodedError("WEIGHTS_INVALID", `export: tensor ${name} is neither trained nor in the backbone`);
      return [name, tensor];
    }),
  );
}

export interface Classified {
  readonly rows: SplitRows;
  readonly predicted: Int32Array;
  /** `[true][predicted]` */
  readonly confusion: readonly (readonly number[])[];
  readonly wrong: readonly { readonly row: number; readonly predicted: number; readonly probability: number }[];
}

function classify(plan: TrainingPlan, rows: SplitRows, { logits }: SplitSums): Classified {
  const predicted = new Int32Array(rows.rows);
  predictClasses(logits, rows.rows, plan.outputs, predicted, 0);
  const wrong = misclassifiedRows(rows.labels, predicted).map((row) => {
    const probabilities = probabilitiesOf(plan.recipe.loss.kind, logits.subarray(row * plan.outputs, (row + 1) * plan.outputs));
    return { row, predicted: predicted[row]!, probability: probabilities[predicted[row]!]! };
  });
  return { rows, predicted, confusion: confusionMatrix(rows.labels, predicted, plan.classes.length), wrong };
}

function metricsOf(
  { plan, state, facts, millisecondsPerStep }: FinishedTraining,
  sums: { readonly train: SplitSums; readonly validation: SplitSums | undefined; readonly test: SplitSums | undefined },
  judged: { readonly split: "test" | "validation"; readonly matrix: readonly (readonly number[])[] } | undefined,
  digest: string,
): Metrics {
  const { samples } = facts;
  const split = (of: SplitSums | undefined): SplitMetrics =>
    of === undefined ? noSplit : { accuracy: of.correct / of.count, loss: of.loss / of.count, count: of.count };
  return {
    formatVersion: 1,
    classes: plan.classes,
    train: {
      accuracy: sums.train.correct / sums.train.count,
      loss: sums.train.loss / sums.train.count,
      count: sums.train.count,
      steps: state.step,
    },
    validation: split(sums.validation),
    test: split(sums.test),
    perClass:
      judged === undefined
        ? null
        : {
            split: judged.split,
            classes: classScores(judged.matrix).map((scores, index) => ({ label: plan.classes[index]!, ...scores })),
          },
    weightsSha256: digest,
    extraction: {
      extracted: samples.extraction.extracted,
      cached: samples.extraction.cached,
      rejected: samples.rejectedCount,
      imagesPerSecond: samples.extraction.imagesPerSecond,
    },
    training: { millisecondsPerStep },
  };
}

function passportOf(
  { facts, plan, state, backbone, engine, lastLayer }: FinishedTraining,
  exportedStep: number,
  digest: string,
  files: ReadonlyMap<string, Uint8Array>,
): Passport {
  const { samples } = facts;
  return {
    formatVersion: passportVersion,
    spec: passportSpec(facts.record.job),
    dataset: {
      digest: samples.digest,
      rows: samples.rows,
      classes: samples.classes,
      counts: samples.counts,
      rejectedCount: samples.rejectedCount,
      duplicateCount: samples.duplicateCount,
      conflictCount: samples.conflictCount,
    },
    backbone: {
      name: backbone.backbone.name,
      digest: backbone.digest,
      lastLayer,
      origin: backbone.backbone.origin,
      licence: backbone.backbone.licence,
    },
    cut: facts.plan.cut,
    features: facts.plan.featureSpec,
    featureSpecDigest: facts.plan.featureSpecDigest,
    initialWeights: initialWeightsOf(facts),
    training: {
      profile: facts.plan.trainingProfile,
      profilePinned: facts.record.job.numericsProfile === "PINNED",
      grains: plan.grains,
      batchSize: plan.batchSize,
      streaming: plan.streaming ?? null,
      steps: state.step,
      exportedStep,
      parameters: plan.layout.length,
    },
    versions: { graft: version, engine: `${engine.name} ${engine.gradientProfile.engineVersion}` },
    weightsSha256: digest,
    // Times are no part of what determined the result: metrics and events are left out.
    files: Object.fromEntries(
      [...files]
        .filter(([name]) => name !== "metrics.json" && !name.startsWith("events/"))
        .map(([name, bytes]) => [name, sha256Hex(bytes)]),
    ),
  };
}

function initialWeightsOf({ record, plan }: JobFacts): Passport["initialWeights"] {
  const { initialWeights } = record.job;
  if (initialWeights.kind !== "result") return initialWeights;
  const { kind, strip, add } = initialWeights;
  return { kind, sha256: plan.initialWeights?.sha256 ?? "", strip, add };
}

function eventsOf({ state }: FinishedTraining, firstWallSeconds: number): Uint8Array {
  const events = state.history.map(({ step, wallMs, train, validation, learningRate, layers }) =>
    trainingEvent({
      step,
      wallSeconds: wallMs / 1000,
      train,
      validation: validation ?? undefined,
      learningRate,
      layers: new Map(Object.entries(layers ?? {})),
    }),
  );
  return encodeEventFile(firstWallSeconds, events);
}

async function reportOf(
  { facts, plan, state, set, features, clock }: FinishedTraining,
  passport: Passport,
  metrics: Metrics,
  classified: Classified | undefined,
): Promise<string> {
  const total = (clock.now() - facts.record.submittedMs) / 1000;
  return renderReport({
    title: facts.record.name,
    passport,
    metrics,
    history: state.history.map(({ step, train, validation }) => ({ step, train, validation: validation ?? undefined })),
    confusion: classified?.confusion ?? null,
    pictures: await samplePictures(plan.classes, set, features),
    misclassified: classified === undefined ? [] : await misclassifiedPictures(plan.classes, classified, features),
    misclassifiedCount: classified?.wrong.length ?? 0,
    samples: facts.samples,
    seconds: { total, extraction: facts.samples.extraction.seconds, training: state.history.at(-1)?.seconds ?? 0 },
    out: facts.record.out,
  });
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
