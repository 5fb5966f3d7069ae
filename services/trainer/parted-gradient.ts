import type { Range } from "../../domain/training/grains.js";
import { largeKernels } from "../../domain/training/large-kernels.js";
import type { OptimizerState } from "../../domain/training/optimizer.js";
import type { ParameterEntry } from "../../domain/training/parameters.js";
import type { TrainingPlan } from "../../domain/training/training-plan.js";
import type { Engine, GradientInParts, Trainable } from "../../platform/engine/engine.js";

/** The gradient of a whole batch, of which large kernels are updated part by part. */
export class PartedGradient {
  readonly gradient: GradientInParts;
  private readonly kernels: readonly ParameterEntry[];
  /** Where the other parameters lie. */
  private readonly others: readonly Range[];

  private constructor(gradient: GradientInParts, kernels: readonly ParameterEntry[], length: number) {
    this.gradient = gradient;
    this.kernels = kernels;
    const borders = [0, ...kernels.flatMap((kernel) => [kernel.offset, kernel.offset + kernel.length]), length];
    this.others = Array.from({ length: kernels.length + 1 }, (_, i) => ({ from: borders[2 * i] ?? 0, to: borders[2 * i + 1] ?? 0 }));
  }

  /**
   * Undefined where no kernel is large, where the sums of several grains are needed as a whole, or where the engine does not do it. No bit depends on it. There is one grain, and so one trainer, wherever
   * a network has more parameters than `limits.parametersForGrains`.
   */
  static async open(plan: TrainingPlan, trainable: Trainable, engine: Engine): Promise<PartedGradient | undefined> {
    const kernels = largeKernels(trainable.network);
    const hasBatchStatistics = trainable.batchNorm === "BATCH" && plan.statisticsLayout.length > 0;
    if (kernels.length === 0 || plan.grains > 1 || hasBatchStatistics) return undefined;
    const gradient = await engine.compileGradientInParts?.(
      trainable,
      plan.grainRows,
      kernels.map(({ name }) => name),
    );
    return gradient && new PartedGradient(gradient, kernels, plan.layout.length);
  }

  /** The update of all parameters with the gradient of the last run, which lies in `optimizer` but for the kernels. */
  async update(optimizer: OptimizerState, step: number, learningRate: number, gradientScale: number): Promise<void> {
    for (const { name, offset, length } of this.kernels) {
      await this.gradient.eachPart(name, optimizer.gradient.subarray(offset, offset + length), (from, to) =>
        optimizer.update(step, learningRate, gradientScale, offset + from, offset + to, offset),
      );
    }
    for (const { from, to } of this.others) optimizer.update(step, learningRate, gradientScale, from, to);
  }
}
