import { totalmem } from "node:os";
import type { ListedPicture } from "../../domain/dataset/listing.js";
import { CodedError } from "../../domain/errors.js";
import type { ImageId } from "../../domain/features/feature-spec.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { expectedCounts } from "../../domain/job/expected-counts.js";
import { count } from "../../domain/job/figures.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { type Plan, planJob, type PlanInputs, type Speeds } from "../../domain/job/plan.js";
import type { Speed } from "../../domain/job/plan-costs.js";
import type { Obstacle } from "../../domain/job/plan-remarks.js";
import type { ListingRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { checkTrainable } from "../../domain/training/trainable-layers.js";
import { trainingShape } from "../../domain/training/training-plan.js";
import type { StoredBackbone } from "../../platform/backbone-store/backbone-store.js";
import { findBackbone } from "../../platform/backbone-store/bundled.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { FeatureStore } from "../../platform/feature-store/feature-store.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import { checkInitialWeights, networkInputs, pinFeatures, type PinnedFeatures } from "../coordinator/plan-job.js";
import { scanJob } from "../coordinator/scan-job.js";
import { RecalledIdentities } from "../extractor/identities.js";
import { inOrder } from "../extractor/in-order.js";
import { enginesOf, type Local } from "./local.js";
import { measuredSpeeds } from "./measured-speeds.js";
import { type KnownIdentity, PictureCensus } from "./picture-census.js";
import { probeExtraction, probeStep } from "./probe-speeds.js";
import { readWeightsFile } from "./weights-file.js";

export interface PlanOptions {
  /** Read, hash and decode the pictures whose identity is not known. */
  readonly read: boolean;
  /** Try for some seconds how fast this machine is, where no earlier run tells; else it is assumed. */
  readonly probe: boolean;
  readonly progress: (progress: PlanProgress) => void;
}

export type PlanProgress = { readonly listed: number } | { readonly read: number } | { readonly probing: "extraction" | "training" };

/** A plan; the pictures that would be rejected, as far as they are known, and the files that are no pictures by their names: all are counted, the first named. */
export interface LocalPlan {
  readonly plan: Plan;
  readonly rejectedCount: number;
  readonly rejected: readonly { readonly uri: string; readonly reason: string }[];
  readonly ignoredCount: number;
  readonly ignored: ListingRecord["ignored"];
}

/** Outcomes that `--read` reports together. */
const PICTURES_PER_REPORT = 100;

/**
 * What a job would do, found without starting anything and without writing to the store.
 * @throws CodedError as scan and plan of the job would; what only keeps it from running is an obstacle of the plan
 */
export async function planLocalJob(local: Local, job: ResolvedJob, dataset: OpenedDataset, options: PlanOptions): Promise<LocalPlan> {
  // 1. The network, what computes it here, and the features that are kept.
  const stored = await findBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const decoder = local.decoder();
  const network = networkInputs(job, stored);
  const { preprocessing } = network.network;
  const engines = await enginesOf(local, job);
  const obstacles = new Obstacles();
  const extracting = await obstacles.unless(() => local.engine(engines.extraction));
  const training = await obstacles.unless(() => local.engine(engines.training));
  await obstacles.unless(() => checkTrainable(engines.training, network.network));
  const pinned = extracting && pinFeatures(job, stored, { ...extracting.forwardProfile, decoder: decoder.version });
  const features = pinned && keptFeatures(local, pinned);
  await features?.refresh();

  // 2. The pictures, part by part; who they are where that is known or read now.
  const identities = new RecalledIdentities(local.domain(job.cacheDomain).identities, dataset.source.location, decoder.version);
  const isKept = (imageId: ImageId, view: number): boolean => features?.has(imageId, view) ?? false;
  const census = new PictureCensus({ views: job.views.count, split: job.dataset.split, isKept });
  const toTry = new PicturesToTry();
  const identify = async (picture: ListedPicture): Promise<KnownIdentity> => {
    const recalled = await identities.recall(picture);
    if (recalled !== undefined) return recalled;
    if (picture.bytes > limits.imageBytes)
      return {
        kind: "rejected",
        reason: `${count(picture.bytes)} bytes, more than the ${count(limits.imageBytes)} that a picture may have`,
      };
    const bytes = await dataset.source.read({ path: picture.uri, bytes: picture.bytes, state: picture.state });
    const imageId = sha256Hex(bytes);
    if (isKept(imageId, 0)) return { kind: "image", imageId };
    const decoded = await decoder.decode(bytes, preprocessing);
    return decoded.kind === "rejected" ? decoded : { kind: "image", imageId };
  };
  const pictureBytes = 3 * preprocessing.size * preprocessing.size;
  const inFlight = {
    itemsMax: limits.decodesAtOnce,
    bytesMax: limits.pictureBytesInFlight,
    bytesOf: ({ bytes }: { readonly bytes: number }) => bytes + pictureBytes,
  };
  const listing = await scanJob(
    dataset,
    async (_part, rows) => {
      toTry.offer(rows);
      if (!options.read) {
        for (const picture of rows) census.add(picture, await identities.recall(picture));
      } else {
        let row = 0;
        for await (const identity of inOrder(rows, inFlight, identify)) {
          census.add(rows[row++]!, identity);
          if (census.pictures % PICTURES_PER_REPORT === 0) options.progress({ read: census.pictures });
        }
      }
      return new Uint8Array(0); // the digest of the listing is not needed
    },
    (listed) => options.progress({ listed }),
    local.clock,
  );

  // 3. The plan, first without a trial: a training that cannot run is not tried.
  const { classes, givenSplits } = listing;
  const inputs: PlanInputs = {
    ...network,
    engines,
    pictures: listing.pictures,
    classes,
    exact: census.exact,
    cached: census.cached(givenSplits),
    ...(census.exact && { toExtract: census.toExtract(givenSplits) }),
    counts: census.exact
      ? census.splitCounts(classes, givenSplits, job.dataset.split)
      : expectedCounts(listing.counts, givenSplits, job.dataset.split),
    memoryBytes: totalmem(),
    local: true,
  };
  await obstacles.unless(() => checkStart(job, stored, inputs));
  const measured = pinned === undefined ? {} : await measuredSpeeds(local, job, pinned, training?.gradientProfile, classes.length);
  const untried = planJob({ ...inputs, speeds: measured, obstacles: obstacles.found });
  const probed = options.probe ? await probedSpeeds() : {};
  const plan = planJob({ ...inputs, speeds: { ...probed, ...measured }, obstacles: obstacles.found });
  return {
    plan: { ...plan, obstacles: [...plan.obstacles, ...tooManyRejected(job, listing.pictures, census)] },
    rejectedCount: census.rejectedCount,
    rejected: census.rejected,
    ignoredCount: listing.ignoredCount,
    ignored: listing.ignored,
  };

  /** What no earlier run tells. */
  async function probedSpeeds(): Promise<Speeds> {
    let imagesPerSecond: Speed | undefined;
    let millisecondsPerStep: Speed | undefined;
    if (measured.imagesPerSecond === undefined && extracting !== undefined && untried.extraction.toExtract.value > 0) {
      options.progress({ probing: "extraction" });
      const pictures = await toTry.read(dataset.source);
      const { weights } = stored.backbone;
      imagesPerSecond = await probeExtraction(
        { job, network: network.network, weights, engine: extracting, decoder, pictures },
        local.clock,
      );
    }
    if (measured.millisecondsPerStep === undefined && training !== undefined && untried.obstacles.length === 0) {
      options.progress({ probing: "training" });
      millisecondsPerStep = await probeStep(training, trainingShape(job, network.network, inputs), local.clock);
    }
    return { ...(imagesPerSecond && { imagesPerSecond }), ...(millisecondsPerStep && { millisecondsPerStep }) };
  }
}

/** The features of a job as they are in the store; nothing is written. */
function keptFeatures(local: Local, { featureSpec, viewSpec, domain }: PinnedFeatures): JobFeatures {
  const { store } = local.domain(domain);
  return new JobFeatures(new FeatureStore(store, featureSpec), viewSpec === null ? undefined : new FeatureStore(store, viewSpec));
}

/** Whether training can start from what the job says. @throws CodedError WEIGHTS_INVALID, SPEC_INVALID, FILE_FORMAT_INVALID */
async function checkStart(job: ResolvedJob, stored: StoredBackbone, samples: Pick<PlanInputs, "classes" | "counts">): Promise<void> {
  const { initialWeights } = job;
  const given = initialWeights.kind === "result" ? await readWeightsFile(initialWeights.from) : undefined;
  checkInitialWeights(job, stored, samples, given);
}

/** Collects what would keep the job from running, so that the rest of the plan can still be made. */
class Obstacles {
  readonly found: Obstacle[] = [];

  /** What `attempt` gives; undefined where it fails in a way that graft expects. */
  async unless<T>(attempt: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      const { code, message } = error;
      if (!this.found.some((obstacle) => obstacle.message === message)) this.found.push({ code, message });
      return undefined;
    }
  }
}

/** The first pictures of a listing that are small enough to be tried. */
class PicturesToTry {
  readonly #pictures: ListedPicture[] = [];
  #bytes = 0;

  offer(rows: readonly ListedPicture[]): void {
    for (const picture of rows) {
      if (this.#pictures.length === TRIED_PICTURES_MAX) return;
      if (this.#bytes + picture.bytes > TRIED_BYTES_MAX) continue;
      this.#pictures.push(picture);
      this.#bytes += picture.bytes;
    }
  }

  /** Their bytes; what cannot be read is not tried: the job will say so. */
  async read(source: OpenedDataset["source"]): Promise<Uint8Array[]> {
    const read = await Promise.allSettled(this.#pictures.map(({ uri, bytes, state }) => source.read({ path: uri, bytes, state })));
    return read.flatMap((outcome) => (outcome.status === "fulfilled" ? outcome.value : []));
  }
}

const TRIED_PICTURES_MAX = 128;
const TRIED_BYTES_MAX = 32e6;

function tooManyRejected({ dataset: { maxRejectedPercent } }: ResolvedJob, pictures: number, { rejectedCount }: PictureCensus): Obstacle[] {
  const percent = (100 * rejectedCount) / pictures;
  if (percent <= maxRejectedPercent) return [];
  return [
    {
      code: "TOO_MANY_REJECTED",
      message: `${count(rejectedCount)} of ${count(pictures, "picture")} (${percent.toFixed(1)} %) would be rejected, at most ${maxRejectedPercent} % are allowed (dataset.maxRejectedPercent); mend or remove them`,
    },
  ];
}
