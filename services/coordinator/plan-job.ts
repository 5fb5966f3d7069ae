import { featureSpecDigest, type FeatureSpec } from "../../domain/features/feature-spec.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { PlanRecord } from "../../domain/job/records.js";
import { layerShapes } from "../../domain/network/shapes.js";
import { checkTrainable } from "../../domain/training/trainable-layers.js";
import type { StoredBackbone } from "../../platform/backbone-store/backbone-store.js";

/** The profiles that a job is pinned to: those of its first workers. */
export interface JobProfiles {
  readonly extraction: NumericsProfile;
  readonly training: NumericsProfile;
}

/** The part of the plan that shapes the result: a pure function of spec, backbone and profiles. @throws CodedError CUT_ILLEGAL, NETWORK_INVALID, ENGINE_UNSUPPORTED */
export function pinPlan(job: ResolvedJob, { backbone, digest }: StoredBackbone, profiles: JobProfiles): PlanRecord {
  const { preprocessing, prefix, cut } = cutBackbone(job, backbone);
  checkTrainable(profiles.training.engine, backbone.network, cut);
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
