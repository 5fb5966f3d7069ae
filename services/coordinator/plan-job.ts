import { featureSpecDigest, type FeatureSpec } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import { expectedCounts } from "../../domain/job/expected-counts.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { assertFeasible, planJob, type PlanInputs } from "../../domain/job/plan.js";
import type { ListingRecord, PlanRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { layerShapes, multiplyAddsPerImage, parameterCount } from "../../domain/network/shapes.js";
import { checkTrainable } from "../../domain/training/trainable-layers.js";
import type { StoredBackbone } from "../../platform/backbone-store/backbone-store.js";

/** The profiles that a job is pinned to: those of its first workers. */
export interface JobProfiles {
  readonly extraction: NumericsProfile;
  readonly training: NumericsProfile;
}

/** The part of the plan that shapes the result: a pure function of spec, backbone and profiles. @throws CodedError CUT_ILLEGAL, NETWORK_INVALID, ENGINE_UNSUPPORTED */
export function pinPlan(job: ResolvedJob, { backbone, digest }: StoredBackbone, profiles: JobProfiles): PlanRecord {
  const { preprocessing, prefix, cut, network } = cutBackbone(job, backbone);
  checkTrainable(profiles.training.engine, network, cut);
  const featureShape = layerShapes(prefix).get(prefix.output)!;
  const featureSpec: FeatureSpec = {
    formatVersion: 1,
    backboneDigest: digest,
    cut,
    shape: featureShape,
    preprocessing,
    dtype: "float32",
    profile: profiles.extraction,
  };
  return {
    formatVersion: 1,
    backbone: { name: backbone.name, digest },
    cut,
    featureSpec,
    featureSpecDigest: featureSpecDigest(featureSpec),
    featureShape,
    trainingProfile: profiles.training,
  };
}

/** What of a plan's inputs follows from job, backbone and pinned plan. */
export function networkInputs(
  job: ResolvedJob,
  { backbone, digest }: StoredBackbone,
  { cut, featureShape }: PlanRecord,
): Pick<PlanInputs, "job" | "backbone" | "frozen" | "tail" | "featureShape"> {
  const { prefix, tail, preprocessing } = cutBackbone(job, backbone);
  const { total } = parameterCount(prefix);
  return {
    job,
    backbone: { name: backbone.name, digest, cut },
    frozen: { parameters: total, multiplyAdds: multiplyAddsPerImage(prefix), size: preprocessing.size, batch: limits.forwardBatch },
    tail,
    featureShape,
  };
}

/** Refuses, before any picture is read, a job that could only fail later. @throws CodedError JOB_TOO_LARGE, SPEC_INVALID, DATASET_INVALID */
export function checkFeasible(
  job: ResolvedJob,
  stored: StoredBackbone,
  pinned: PlanRecord,
  listing: ListingRecord,
  memoryBytes: number,
): void {
  const counts = expectedCounts(listing.counts, listing.givenSplits, job.dataset.split);
  const { pictures, classes } = listing;
  assertFeasible(
    planJob({ ...networkInputs(job, stored, pinned), pictures, classes, counts, exact: false, cached: 0, memoryBytes, local: true }),
  );
}
