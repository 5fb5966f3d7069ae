import { GrainInput, type Range, type TrainingRows } from "../../domain/training/grains.js";
import { largeKernels } from "../../domain/training/large-kernels.js";
import type { OptimizerState } from "../../domain/training/optimizer.js";
import type { ParameterEntry } from "../../domain/training/parameters.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { SubTree, SubTreeSum } from "../../domain/training/tree.js";
import type { Engine, Gradient, Step, Trainable } from "../../platform/engine/engine.js";

/** Values behind the gradient in what trainers add up: batch statistics where batch norm uses them, loss sum and correct count. */
export function counters({ recipe, statisticsLayout }: Pick<TrainingPlan, "recipe" | "statisticsLayout">): number {
  return 2 + (recipe.batchNorm === "BATCH" ? statisticsLayout.length : 0);
}

/** Which rows make the batch of each step; streamed ones may have to be waited for. Valid until the next call. */
export interface BatchOrder {
  batch(step: number): Uint32Array | Promise<Uint32Array>;
}

/**
 * The grains of one trainer: its aligned sub-trees of every batch, each added up in one engine call.
 * A sum is `[layout.length + counters]`: gradient, batch statistics, loss, correct.
 */
export class OwnGrains {
  /** Grains worked out so far. */
  computed = 0;
  private readonly order: BatchOrder;
  private readonly parts: readonly {
    readonly node: SubTree;
    readonly gradient: Gradient;
    readonly input: GrainInput;
    readonly sum: Float32Array;
    /** The beginning of `sum`. */
    readonly gradientSum: Float32Array;
  }[];
  private readonly sessions: readonly Gradient[];
  private readonly held: HeldKernels | undefined;

  private constructor(order: BatchOrder, parts: OwnGrains["parts"], sessions: readonly Gradient[], held: HeldKernels | undefined) {
    this.order = order;
    this.parts = parts;
    this.sessions = sessions;
    this.held = held;
  }

  /**
   * `into`: where the sum goes if one sub-tree is all there is, for a single trainer, who then copies nothing. `optimizer`: where the engine may move large kernels itself, if one grain is all there
   * is; their place in the sum then holds anything.
   */
  static async open(
    plan: TrainingPlan,
    nodes: readonly SubTree[],
    order: BatchOrder,
    rows: TrainingRows,
    engine: Engine,
    into?: Float32Array,
    optimizer?: OptimizerState,
  ): Promise<OwnGrains> {
    const sessions = new Map<number, Gradient>();
    const held = optimizer && (await openStep(plan, engine, optimizer));
    if (held !== undefined) sessions.set(1, held.step);
    for (const { grains } of nodes) {
      if (!sessions.has(grains))
        sessions.set(grains, await engine.compileGradient(trainableOf(plan), { grainRows: plan.grainRows, grains }));
    }
    const parts = nodes.map((node) => {
      const sum = (nodes.length === 1 ? into : undefined) ?? new Float32Array(plan.layout.length + counters(plan));
      return {
        node,
        gradient: sessions.get(node.grains)!,
        input: new GrainInput(
          { batchSize: plan.batchSize, grains: plan.grains, callGrains: node.grains, seed: plan.recipe.seed, dropout: plan.dropout },
          rows,
        ),
        sum,
        gradientSum: sum.subarray(0, plan.layout.length),
      };
    });
    return new OwnGrains(order, parts, [...sessions.values()], held);
  }

  /** Sums of the own sub-trees for the batch of `step`; valid until the next call. */
  async sums(step: number, parameters: Float32Array, statistics: Float32Array): Promise<SubTreeSum[]> {
    const batch = await this.order.batch(step);
    const sums: SubTreeSum[] = [];
    for (const { node, gradient, input, sum, gradientSum } of this.parts) {
      input.fill(step, batch, node.first);
      const { features, labels, rowWeights, dropoutMasks } = input;
      const result = await gradient.run({ parameters, statistics, features, labels, rowWeights, dropoutMasks, gradient: gradientSum });
      this.computed += node.grains;
      sum.set(result.statistics, gradientSum.length);
      sum[sum.length - 2] = result.loss;
      sum[sum.length - 1] = result.correct;
      sums.push({ ...node, values: sum });
    }
    return sums;
  }

  /** The update with the sum of all grains, which lies in `optimizer`; large kernels that the engine holds back are moved there. */
  async update(optimizer: OptimizerState, step: number, learningRate: number, gradientScale: number): Promise<void> {
    for (const entry of this.held?.kernels ?? [])
      await this.held?.step.update(entry.name, optimizer.tensorConstants(entry, step, learningRate, gradientScale));
    for (const { from, to } of this.held?.others ?? [{ from: 0, to: optimizer.parameters.length }])
      optimizer.update(step, learningRate, gradientScale, from, to);
  }

  async release(): Promise<void> {
    for (const session of this.sessions) await session.release();
  }
}

/** Kernels that the engine moves itself. */
interface HeldKernels {
  readonly step: Step;
  readonly kernels: readonly ParameterEntry[];
  /** Where the other parameters lie. */
  readonly others: readonly Range[];
}

/**
 * Whether kernels are held back follows from network and recipe, and is nothing that bits depend on: there is one grain, the whole batch's, and so one trainer (limits.parametersForGrains sees to it for
 * most networks that have any). Undefined where there are none, or where the engine cannot do it.
 */
async function openStep(plan: TrainingPlan, engine: Engine, optimizer: OptimizerState): Promise<HeldKernels | undefined> {
  const trainable = trainableOf(plan);
  const kernels = largeKernels(trainable.network);
  const hasBatchStatistics = plan.recipe.batchNorm === "BATCH" && plan.statisticsLayout.length > 0;
  if (kernels.length === 0 || plan.grains > 1 || hasBatchStatistics || engine.compileStep === undefined) return undefined;
  const updates = kernels.map((entry) => optimizer.tensorUpdate(entry));
  const step = await engine.compileStep(trainable, plan.grainRows, updates);
  const borders = [0, ...kernels.flatMap(({ offset, length }) => [offset, offset + length]), plan.layout.length];
  const others = Array.from({ length: kernels.length + 1 }, (_, i) => ({ from: borders[2 * i] ?? 0, to: borders[2 * i + 1] ?? 0 }));
  return { step, kernels, others };
}

/** What the engine computes gradient and evaluation of. */
export function trainableOf({ trainable, recipe, preprocessing }: TrainingPlan): Trainable {
  return { network: trainable, loss: recipe.loss, batchNorm: recipe.batchNorm, ...(preprocessing && { preprocessing }) };
}
