import { randomBytes } from "node:crypto";
import { availableParallelism, totalmem } from "node:os";
import { domainPrefix } from "../../domain/features/cache-domain.js";
import { featureSpecDigest } from "../../domain/features/feature-spec.js";
import type { JobEvent } from "../../domain/job/events.js";
import type { Milestone, PlanRecord } from "../../domain/job/records.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import type { ResolvedJob, Workers } from "../../domain/job/job.js";
import { limits } from "../../domain/limits.js";
import { trainingEngine } from "../../domain/training/trainable-layers.js";
import type { S3Access } from "../../platform/bucket/bucket.js";
import { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import { findBackbone } from "../../platform/backbone-store/bundled.js";
import { readWeightsFile } from "./weights-file.js";
import type { Clock } from "../../platform/clock/clock.js";
import { systemClock } from "../../platform/clock/system.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { openDataset } from "../../platform/dataset-source/open-dataset.js";
import type { Engine } from "../../platform/engine/engine.js";
import { defaultEngine, openEngine } from "../../platform/engine/engines.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import type { GradientBus } from "../../platform/gradient-bus/gradient-bus.js";
import { memoryGradientBus } from "../../platform/gradient-bus/memory.js";
import { IdentityStore } from "../../platform/identity-store/identity-store.js";
import type { ImageDecoder } from "../../platform/image-decoder/image-decoder.js";
import { SharpImageDecoder } from "../../platform/image-decoder/sharp.js";
import { LaneStore } from "../../platform/lane-store/lane-store.js";
import type { JobStore } from "../../platform/job-store/job-store.js";
import { objectJobStore } from "../../platform/job-store/object-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { openObjectStore } from "../../platform/object-store/open-store.js";
import { prefixedObjectStore } from "../../platform/object-store/prefixed.js";
import type { RetryDeps } from "../../platform/retry/retry.js";
import type { CoordinatorDeps } from "../coordinator/coordinator-deps.js";
import type { JobProfiles } from "../coordinator/plan-job.js";
import type { ExtractorDeps } from "../extractor/extractor.js";
import { Slots } from "../extractor/slots.js";
import { loadTrainingSet, type TrainingSet } from "../trainer/training-set.js";
import type { TrainerDeps } from "../trainer/trainer.js";

/** What the jobs of one cache domain share, beside the backbones that all jobs do: features and lanes in its part of the store, and identities. */
export interface CacheDomain {
  readonly store: ObjectStore;
  readonly identities: IdentityStore;
}

/** The adapters of one process: what coordinator, extractors and trainers share when they run together. */
export interface Local {
  readonly store: ObjectStore;
  readonly jobs: JobStore;
  readonly backbones: BackboneStore;
  /** As `PlanRecord.domain` names it; opened once. */
  readonly domain: (name: string | undefined) => CacheDomain;
  readonly clock: Clock;
  readonly retries: RetryDeps;
  readonly openDataset: (source: string) => Promise<OpenedDataset>;
  readonly decoder: () => ImageDecoder;
  /** The engine of that name, opened once. @throws CodedError ENGINE_UNAVAILABLE with how to install it */
  readonly engine: (name: string) => Promise<Engine>;
  readonly openFeatures: (plan: PlanRecord) => Promise<JobFeatures>;
}

/** How what lies in buckets is reached, and how many threads an engine call has (default: one for each processor). */
export interface LocalAccess {
  readonly store?: S3Access | undefined;
  /** Of s3:// datasets; default: as the store. */
  readonly datasets?: S3Access | undefined;
  readonly threads?: number | undefined;
}

const retryDeps: RetryDeps = { clock: systemClock, random: Math.random };

/** Opens the store (a folder or s3://bucket/prefix) and prepares the rest; engine and decoder are loaded when they are first needed. @throws CodedError CONFIG_INVALID */
export async function openLocal(location: string, access: LocalAccess = {}): Promise<Local> {
  const store = await openObjectStore(location, access.store, retryDeps);
  const threads = access.threads ?? availableParallelism();
  const domains = new Map<string, CacheDomain>();
  const domain = (name: string | undefined): CacheDomain => {
    const prefix = domainPrefix(name);
    const part = prefix === "" ? store : prefixedObjectStore(store, prefix);
    const opened = domains.get(prefix) ?? { store: part, identities: new IdentityStore(part) };
    domains.set(prefix, opened);
    return opened;
  };
  const features = new Map<string, Promise<JobFeatures>>();
  const engines = new Map<string, Promise<Engine>>();
  return {
    store,
    jobs: objectJobStore(store),
    backbones: new BackboneStore(store),
    domain,
    clock: systemClock,
    retries: retryDeps,
    openDataset: (source) => openDataset(source, access.datasets ?? access.store, retryDeps),
    decoder: once(() => new SharpImageDecoder()),
    engine: (name) => {
      const opened = engines.get(name) ?? openEngine(name, { threads });
      engines.set(name, opened);
      return opened;
    },
    openFeatures: (plan) => {
      const key = `${domainPrefix(plan.domain)} ${plan.featureSpecDigest} ${plan.viewSpec === null ? "" : featureSpecDigest(plan.viewSpec)}`;
      const opened = features.get(key) ?? JobFeatures.open(domain(plan.domain).store, plan.featureSpec, plan.viewSpec);
      features.set(key, opened);
      return opened;
    },
  };
}

/** Which engine computes what in a job. */
export interface Engines {
  readonly extraction: string;
  readonly training: string;
}

/** The engines that the job names, or those that can do its work (domain/training/trainable-layers.ts). @throws CodedError BACKBONE_UNKNOWN, CUT_ILLEGAL and others of the network */
export async function enginesOf(local: Local, job: ResolvedJob): Promise<Engines> {
  const { backbone } = await findBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const training = trainingEngine(job.engines.training, cutBackbone(job, backbone));
  return { extraction: job.engines.extraction ?? defaultEngine, training };
}

export async function profilesOf(local: Local, engines: Engines): Promise<JobProfiles> {
  const { forwardProfile } = await local.engine(engines.extraction);
  const { gradientProfile } = await local.engine(engines.training);
  return { extraction: { ...forwardProfile, decoder: local.decoder().version }, training: gradientProfile };
}

/** What a coordinator works with in this process. */
export function coordinatorDeps(
  local: Local,
  engines: Engines,
  trainers: Workers,
  announce: (event: JobEvent) => void,
  milestone: (milestone: Milestone) => void,
): CoordinatorDeps {
  return {
    store: local.store,
    jobs: local.jobs,
    backbones: local.backbones,
    openDataset: local.openDataset,
    openFeatures: local.openFeatures,
    profiles: () => profilesOf(local, engines),
    readWeights: readWeightsFile,
    clock: local.clock,
    workersOutlive: false,
    trainers,
    memoryBytes: totalmem(),
    newKey: () => randomBytes(32),
    announce: (_jobId, event) => announce(event),
    milestone,
  };
}

export function extractorDeps(
  local: Local,
  engines: Engines,
  work: ExtractorDeps["work"],
  milestone: (milestone: Milestone) => void,
): ExtractorDeps {
  const { store, backbones, openDataset, openFeatures, domain, clock } = local;
  return {
    work,
    clock,
    store,
    backbones,
    openDataset,
    openFeatures,
    identitiesOf: (plan) => domain(plan.domain).identities,
    decoder: local.decoder(),
    decodeSlots: new Slots(limits.decodesAtOnce),
    engine: () => local.engine(engines.extraction),
    milestone,
  };
}

/** Trainers of one process share one bus and one copy of the features. */
export function trainerDeps(
  local: Local,
  engines: Engines,
  work: TrainerDeps["work"],
  milestone: (milestone: Milestone) => void,
): TrainerDeps {
  const { store, backbones, clock, openFeatures, domain } = local;
  const engine = () => local.engine(engines.training);
  const bus: GradientBus = memoryGradientBus((error) => {
    throw error; // an exchange keeps its failures and throws them where it waits
  });
  let loaded: Promise<TrainingSet> | undefined;
  const shared: TrainerDeps["loadTrainingSet"] = (...inputs) => {
    loaded ??= loadTrainingSet(...inputs).catch((error: unknown) => {
      loaded = undefined; // missing features are extracted and read again
      throw error;
    });
    return loaded;
  };
  let lanes: LaneStore | undefined;
  const openLanes: TrainerDeps["openLanes"] = (features, plan) => (lanes ??= new LaneStore(domain(plan.domain).store, features));
  return { work, store, backbones, bus, engine, clock, openFeatures, loadTrainingSet: shared, openLanes, milestone };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
