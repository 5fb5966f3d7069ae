import { GrainInput, type TrainingRows } from "../../domain/training/grains.js";
import type { OptimizerState } from "../../domain/training/optimizer.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { SubTree, SubTreeSum } from "../../domain/training/tree.js";
import type { Engine, Gradient, Trainable } from "../../platform/engine/engine.js";
import { PartedGradient } from "./parted-gradient.js";

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
  private readonly parted: PartedGradient | undefined;

  private constructor(order: BatchOrder, parts: OwnGrains["parts"], sessions: readonly Gradient[], parted: PartedGradient | undefined) {
    this.order = order;
    this.parts = parts;
    this.sessions = sessions;
    this.parted = parted;
  }

  /**
   * `into`: where the sum goes if one sub-tree is all there is, for a single trainer, who then copies nothing. `canBeParted`: the sum is used by `update` only, so that large kernels may come in parts;
   * then their place in the sum holds anything.
   */
  static async open(
    plan: TrainingPlan,
    nodes: readonly SubTree[],
    order: BatchOrder,
    rows: TrainingRows,
    engine: Engine,
    into?: Float32Array,
    canBeParted = false,
  ): Promise<OwnGrains> {
    const sessions = new Map<number, Gradient>();
    const parted = canBeParted ? await PartedGradient.open(plan, trainableOf(plan), engine) : undefined;
    if (parted !== undefined) sessions.set(1, parted.gradient);
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
    return new OwnGrains(order, parts, [...sessions.values()], parted);
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

  /** The update with the sum of all grains, which lies in `optimizer`. */
  async update(optimizer: OptimizerState, step: number, learningRate: number, gradientScale: number): Promise<void> {
    if (this.parted === undefined) optimizer.update(step, learningRate, gradientScale);
    else await this.parted.update(optimizer, step, learningRate, gradientScale);
  }

  async release(): Promise<void> {
    for (const session of this.sessions) await session.release();
  }
}

/** What the engine computes gradient and evaluation of. */
export function trainableOf({ trainable, recipe, preprocessing }: TrainingPlan): Trainable {
  return { network: trainable, loss: recipe.loss, batchNorm: recipe.batchNorm, ...(preprocessing && { preprocessing }) };
}
