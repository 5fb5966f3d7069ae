import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { PlanRecord, SamplesRecord } from "../../domain/job/records.js";
import { planTraining } from "../../domain/training/training-plan.js";
import type { BackboneStore } from "../../platform/backbone-store/backbone-store.js";

/** How many of `available` trainers can work: each needs a whole grain of every batch. */
export async function trainersOf(
  available: number,
  job: ResolvedJob,
  plan: PlanRecord,
  samples: SamplesRecord,
  backbones: BackboneStore,
): Promise<number> {
  if (available <= 1) return 1;
  const { backbone } = await backbones.find(plan.backbone.name, plan.backbone.digest);
  return Math.min(available, planTraining(job, cutBackbone(job, backbone), samples).grains);
}
