import { chooseTrainers } from "../../domain/job/choose-trainers.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { assumedExchange } from "../../domain/job/plan-costs.js";
import type { PlanRecord, SamplesRecord } from "../../domain/job/records.js";
import { planTraining } from "../../domain/training/training-plan.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";

/** How many trainers a job may have; a batch has whole grains, so never more than grains. */
export interface TrainerBounds {
  /** With so many training begins. */
  readonly least: number;
  readonly most: number;
  readonly grains: number;
  /** Values that are exchanged in a step. */
  readonly parameters: number;
}

export async function trainerBounds(
  job: ResolvedJob,
  plan: PlanRecord,
  samples: SamplesRecord,
  backbones: BackboneStore,
): Promise<TrainerBounds> {
  const { backbone } = await backbones.find(plan.backbone.name, plan.backbone.digest);
  const { grains, layout } = planTraining(job, cutBackbone(job, backbone), samples);
  return {
    least: Math.min(Math.max(1, job.trainers.min), grains),
    most: Math.min(Math.max(1, job.trainers.max), grains),
    grains,
    parameters: layout.length,
  };
}

/**
 * How many trainers a step is fastest with, from the time that it takes `trainers` of them now. Their grains are computed side by side, so one alone would take as many times longer as it has more grains.
 */
export function chooseFromStep(
  bounds: TrainerBounds,
  trainers: number,
  millisecondsPerStep: number,
): { readonly trainers: number; readonly reason: string } {
  const { least, most, grains, parameters } = bounds;
  const alone = (millisecondsPerStep * grains) / Math.ceil(grains / trainers);
  return chooseTrainers({
    wanted: { min: least, max: most },
    grains,
    parameters,
    millisecondsPerStep: alone,
    exchangeBytesPerSecond: assumedExchange.value,
    local: false,
  });
}
