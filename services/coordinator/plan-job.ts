import { featureSpecDigest, type FeatureSpec } from "../../domain/features/feature-spec.js";
import { VIEWS_REVISION } from "../../domain/features/views.js";
import { anyProfile, type NumericsProfile } from "../../domain/features/numerics-profile.js";
import { type CutBackbone, cutBackbone } from "../../domain/job/cut-backbone.js";
import { expectedCounts } from "../../domain/job/expected-counts.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { assertFeasible, planJob, type PlanInputs } from "../../domain/job/plan.js";
import type { ListingRecord, PlanRecord, SamplesRecord } from "../../domain/job/records.js";
import { parameterCount } from "../../domain/network/shapes.js";
import { initializeState } from "../../domain/training/initial-state.js";
import { checkTrainable } from "../../domain/training/trainable-layers.js";
import { trainingShape } from "../../domain/training/training-plan.js";
import { decodeGivenWeights } from "../../formats/passport/given-weights.js";
import type { StoredBackbone } from "../../platform/backbone-store/backbone-store.js";

/** The profiles that a job is pinned to: those of its first workers. */
export interface JobProfiles {
  readonly extraction: NumericsProfile;
  readonly training: NumericsProfile;
}

/** What of a plan the features of a job depend on. */
export type PinnedFeatures = Omit<PlanRecord, "trainingProfile" | "initialWeights">;

/** The features that a job works with: a pure function of spec, backbone and the profile of its extractors; with `numericsProfile: ANY` of their engine alone. @throws CodedError CUT_ILLEGAL, NETWORK_INVALID */
export function pinFeatures(job: ResolvedJob, { backbone, digest }: StoredBackbone, profile: NumericsProfile): PinnedFeatures {
  const network = cutBackbone(job, backbone);
  const { cut, featureShape } = network;
  const featureSpec = plainFeatureSpec(network, digest, job.numericsProfile === "ANY" ? anyProfile(profile.engine) : profile);
  const { count, augmentation } = job.views;
  return {
    formatVersion: 1,
    backbone: { name: backbone.name, digest },
    cut,
    featureSpec,
    featureSpecDigest: featureSpecDigest(featureSpec),
    featureShape,
    viewSpec: augmentation === undefined ? null : { ...featureSpec, augmentation, viewsRevision: VIEWS_REVISION },
    views: count,
    domain: job.cacheDomain,
  };
}

/** The part of the plan that shapes the result: a pure function of spec, backbone and profiles. @throws CodedError CUT_ILLEGAL, NETWORK_INVALID, ENGINE_UNSUPPORTED */
export function pinPlan(job: ResolvedJob, stored: StoredBackbone, profiles: JobProfiles): PlanRecord {
  checkTrainable(profiles.training.engine, cutBackbone(job, stored.backbone));
  return { ...pinFeatures(job, stored, profiles.extraction), trainingProfile: profiles.training, initialWeights: null };
}

/** What features of plain pictures depend on. Pixels depend on geometry alone, so that every network of one input size shares them. */
function plainFeatureSpec(
  { pixels, preprocessing, cut, featureShape: shape }: CutBackbone,
  digest: string,
  profile: NumericsProfile,
): FeatureSpec {
  const common = { formatVersion: 1, cut, shape, profile } as const;
  if (!pixels) return { ...common, backboneDigest: digest, preprocessing, dtype: "float32" };
  const untouched = { channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] } as const;
  return { ...common, backboneDigest: null, preprocessing: { ...preprocessing, ...untouched }, dtype: "uint8" };
}

/** What a user should know of features of this backbone. */
export function backboneWarnings({ backbone }: StoredBackbone, { cut, featureSpec }: PlanRecord): string[] {
  if (!backbone.untrained || featureSpec.backboneDigest === null) return [];
  return [
    `${backbone.name} is untrained, and everything up to ${cut} stays as random as it is; cut it at input, or take a trained backbone`,
  ];
}

/** What of a plan's inputs follows from job and backbone. */
export function networkInputs(job: ResolvedJob, { backbone, digest }: StoredBackbone): Pick<PlanInputs, "job" | "backbone" | "network"> {
  const { total } = parameterCount(backbone.network);
  return { job, backbone: { name: backbone.name, digest, parameters: total }, network: cutBackbone(job, backbone) };
}

/** Refuses, before any picture is read, a job that could only fail later. @throws CodedError JOB_TOO_LARGE, SPEC_INVALID, DATASET_INVALID */
export function checkFeasible(
  job: ResolvedJob,
  stored: StoredBackbone,
  pinned: PlanRecord,
  listing: ListingRecord,
  given: Uint8Array | undefined,
  memoryBytes: number,
): void {
  const counts = expectedCounts(listing.counts, listing.givenSplits, job.dataset.split);
  const { pictures, classes } = listing;
  const engines = { extraction: pinned.featureSpec.profile.engine, training: pinned.trainingProfile.engine };
  assertFeasible(
    planJob({ ...networkInputs(job, stored), engines, pictures, classes, counts, exact: false, cached: 0, memoryBytes, local: true }),
  );
  checkInitialWeights(job, stored, { classes, counts }, given);
}

/** Whether training can start from what the job says, found by doing it. @throws CodedError WEIGHTS_INVALID, SPEC_INVALID, FILE_FORMAT_INVALID */
export function checkInitialWeights(
  job: ResolvedJob,
  stored: StoredBackbone,
  samples: Pick<SamplesRecord, "classes" | "counts">,
  given: Uint8Array | undefined,
): void {
  if (given === undefined && job.head.initialFromClass === undefined) return;
  const { initialWeights } = job;
  const shape = trainingShape(job, cutBackbone(job, stored.backbone), samples);
  const state = { parameters: new Float32Array(shape.layout.length), statistics: new Float32Array(shape.statisticsLayout.length) };
  const from = initialWeights.kind === "result" ? initialWeights.from : "";
  initializeState(state, shape, job, stored, given && decodeGivenWeights(given, from));
}
