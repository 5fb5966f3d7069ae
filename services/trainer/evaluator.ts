import type { HistoryPoint, LayerHistograms } from "../../domain/training/history.js";
import { evaluationGrainRows, evaluationGrains, leafValues, probabilitiesOf, sumLeaves } from "../../domain/training/evaluation.js";
import { hashOfWeights } from "../../domain/training/exchange/message.js";
import { evenRange } from "../../domain/training/grains.js";
import { tensorStatistics } from "../../domain/training/histogram.js";
import { tensorsOf } from "../../domain/training/parameters.js";
import { learningRateAt } from "../../domain/training/schedule.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Evaluation, EvaluationInput } from "../../platform/engine/engine.js";
import type { Exchange } from "./exchange.js";
import type { EvaluatedRows } from "./row-sources.js";
import type { TrainingState, Weights } from "./training-state.js";

const VALIDATION_TOPIC = 0;

/** Sums over the rows of one split. */
export interface SplitSums {
  readonly loss: number;
  readonly correct: number;
  readonly count: number;
  /** `[rows, outputs]` */
  readonly logits: Float32Array;
}

/** Evaluates fixed grains of a split, so that the sums have the same bits for any number of trainers. */
export class Evaluator {
  private readonly plan: TrainingPlan;
  private readonly validation: EvaluatedRows;
  private readonly evaluation: Evaluation;
  private readonly clock: Clock;
  private readonly startMs: number;
  private readonly rank: number;
  private readonly trainers: number;

  constructor(
    plan: TrainingPlan,
    validation: EvaluatedRows,
    evaluation: Evaluation,
    clock: Clock,
    place: { readonly rank: number; readonly trainers: number },
  ) {
    this.plan = plan;
    this.validation = validation;
    this.evaluation = evaluation;
    this.clock = clock;
    this.startMs = clock.monotonic();
    this.rank = place.rank;
    this.trainers = place.trainers;
  }

  /** One evaluation on the validation pictures, each trainer a share of its grains; the state takes it in. */
  async evaluate(state: TrainingState, exchange: Exchange | undefined, signal: AbortSignal): Promise<void> {
    const grains = evaluationGrains(this.validation.rows, this.plan.evaluationRows);
    const ranges = Array.from({ length: this.trainers }, (_, rank) => {
      const { from, to } = evenRange(grains, this.trainers, rank);
      return { from: from * leafValues, to: to * leafValues };
    });
    const own = ranges[this.rank]!;
    const leaves = new Float32Array(own.to - own.from);
    for (let grain = own.from / leafValues; grain < own.to / leafValues; grain++) {
      const { loss, correct, count } = await this.runGrain(this.validation, grain, state);
      leaves.set([loss, correct, count], grain * leafValues - own.from);
    }
    const all =
      exchange === undefined
        ? leaves
        : await exchange.gather({ step: state.step, topic: VALIDATION_TOPIC }, ranges, leaves, hashOfWeights(state.parameters), signal);
    if (state.isEvaluated) return; // done for the others of a new generation
    const { loss, correct, rows: count } = sumLeaves(all);
    const { since } = state;
    const { recipe, steps, histogramEverySteps } = this.plan;
    // Of every trainer, though one exports: any other may have to go on without it, and with a step they wait for the slowest in any case.
    const histogramsAreDue = state.step % histogramEverySteps === 0 || state.step === steps;
    const point: HistoryPoint = {
      step: state.step,
      epoch: state.epoch,
      train: since.rows === 0 ? null : { loss: since.loss / since.rows, accuracy: since.correct / since.rows },
      validation: count === 0 ? null : { loss: loss / count, accuracy: correct / count, count },
      learningRate: learningRateAt(recipe.schedule, recipe.optimizer.learningRate, Math.max(0, state.step - 1), steps),
      wallMs: this.clock.now(),
      seconds: (this.clock.monotonic() - this.startMs) / 1000,
      layers: histogramsAreDue ? await this.histograms(state) : null,
    };
    state.evaluated(point, { correct, count });
  }

  /** A whole split at once, with logits; for the end of a job. */
  async evaluateSplit(split: EvaluatedRows, weights: Weights): Promise<SplitSums> {
    const grains = evaluationGrains(split.rows, this.plan.evaluationRows);
    const leaves = new Float32Array(grains * leafValues);
    const logits = new Float32Array(split.rows * this.plan.outputs);
    for (let grain = 0; grain < grains; grain++) {
      const result = await this.runGrain(split, grain, weights);
      leaves.set([result.loss, result.correct, result.count], grain * leafValues);
      logits.set(result.logits, evaluationGrainRows(split.rows, this.plan.evaluationRows, grain).from * this.plan.outputs);
    }
    const { loss, correct, rows: count } = sumLeaves(leaves);
    return { loss, correct, count, logits };
  }

  private async runGrain(split: EvaluatedRows, grain: number, weights: Weights): Promise<SplitSums> {
    const input = await this.grainInput(split, grain, weights);
    const { from, to } = evaluationGrainRows(split.rows, this.plan.evaluationRows, grain);
    const { loss, correct, logits } = await this.evaluation.run(input);
    return { loss, correct, count: to - from, logits: logits.subarray(0, (to - from) * this.plan.outputs) };
  }

  /** Padded with rows of weight 0 to the one shape that is compiled. */
  private async grainInput(split: EvaluatedRows, grain: number, { parameters, statistics }: Weights): Promise<EvaluationInput> {
    const { rows } = this.evaluation;
    const { featureLength, preprocessing } = this.plan;
    const { from, to } = evaluationGrainRows(split.rows, this.plan.evaluationRows, grain);
    const values = rows * featureLength;
    const features = preprocessing === undefined ? new Float32Array(values) : new Uint8Array(values);
    await split.read(from, to, features);
    const labels = new Int32Array(rows);
    labels.set(split.labels.subarray(from, to));
    return { parameters, statistics, features, labels, rowWeights: new Float32Array(rows).fill(1, 0, to - from) };
  }

  /** Weights and biases of every layer, and what it makes of the first validation grain (without its padding). */
  private async histograms(weights: Weights): Promise<Record<string, LayerHistograms>> {
    const layers: Record<string, { -readonly [Kind in keyof LayerHistograms]: LayerHistograms[Kind] }> = {};
    for (const [name, { data }] of tensorsOf(this.plan.layout, weights.parameters)) {
      const slash = name.lastIndexOf("/");
      const kind = ["bias", "beta"].includes(name.slice(slash + 1)) ? "biases" : "weights";
      (layers[name.slice(0, slash)] ??= {})[kind] = tensorStatistics(data);
    }
    if (this.validation.rows === 0) return layers;
    const { to } = evaluationGrainRows(this.validation.rows, this.plan.evaluationRows, 0);
    const activations = await this.evaluation.activations(await this.grainInput(this.validation, 0, weights));
    for (const { name, kind } of this.plan.trainable.layers) {
      const activation = activations.get(name);
      if (activation === undefined) continue;
      const statistics = tensorStatistics(activation.data.subarray(0, (activation.data.length / this.evaluation.rows) * to));
      (layers[name] ??= {})[kind === "dense" || kind === "conv2d" || kind === "depthwiseConv2d" ? "preActivations" : "activations"] =
        statistics;
    }
    const logits = activations.get(this.plan.trainable.output);
    if (logits !== undefined)
      (layers[this.plan.trainable.output] ??= {}).activations = tensorStatistics(this.probabilities(logits.data, to));
    return layers;
  }

  /** What the loss makes of the first `rows` rows of logits: the activations of the output layer, as the exported model has them. */
  private probabilities(logits: Float32Array, rows: number): Float32Array {
    const { outputs, recipe } = this.plan;
    const probabilities = new Float32Array(rows * outputs);
    for (let row = 0; row < rows; row++) {
      const classes = probabilitiesOf(recipe.loss.kind, logits.subarray(row * outputs, (row + 1) * outputs));
      probabilities.set(classes.slice(classes.length - outputs), row * outputs); // a single sigmoid has the second class only
    }
    return probabilities;
  }
}
