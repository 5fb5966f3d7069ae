import { totalmem } from "node:os";
import type { ListedPicture } from "../../domain/dataset/listing.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import { expectedCounts } from "../../domain/job/expected-counts.js";
import { count } from "../../domain/job/figures.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { type Obstacle, type Plan, planJob } from "../../domain/job/plan.js";
import type { ListingRecord } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { findBackbone } from "../../platform/backbone-store/bundled.js";
import type { OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { FeatureStore } from "../../platform/feature-store/feature-store.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import { networkInputs, pinPlan } from "../coordinator/plan-job.js";
import { scanJob } from "../coordinator/scan-job.js";
import { RecalledIdentities } from "../extractor/identities.js";
import { inOrder } from "../extractor/in-order.js";
import { measuredSpeeds } from "./measured-speeds.js";
import { type KnownIdentity, PictureCensus } from "./picture-census.js";
import { enginesOf, profilesOf, type Local } from "./local.js";

export interface PlanOptions {
  /** Read, hash and decode the pictures whose identity is not known. */
  readonly read: boolean;
  readonly progress: (progress: { readonly listed: number } | { readonly read: number }) => void;
}

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
  // 1. The network and the features that are kept of it.
  const stored = await findBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const decoder = local.decoder();
  const pinned = pinPlan(job, stored, await profilesOf(local, await enginesOf(local, job)));
  const { preprocessing } = pinned.featureSpec;
  const features = new JobFeatures(
    new FeatureStore(local.store, pinned.featureSpec),
    pinned.viewSpec === null ? undefined : new FeatureStore(local.store, pinned.viewSpec),
  );
  await features.refresh();

  // 2. The pictures, part by part; who they are where that is known or read now.
  const identities = new RecalledIdentities(local.identities, dataset.source.location, decoder.version);
  const census = new PictureCensus((imageId) => features.has(imageId, 0));
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
    if (features.has(imageId, 0)) return { kind: "image", imageId };
    const decoded = await decoder.decode(bytes, preprocessing);
    return decoded.kind === "rejected" ? decoded : { kind: "image", imageId };
  };
  const pictureBytes = 3 * preprocessing.size * preprocessing.size;
  const inFlight = {
    itemsMax: limits.picturesInFlight,
    bytesMax: limits.pictureBytesInFlight,
    bytesOf: ({ bytes }: { readonly bytes: number }) => bytes + pictureBytes,
  };
  const listing = await scanJob(
    dataset,
    async (_part, rows) => {
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
  );

  // 3. The plan.
  const known = census.exact ? census.splitCounts(listing.classes, listing.givenSplits, job.dataset.split) : undefined;
  const plan = planJob({
    ...networkInputs(job, stored),
    engine: pinned.trainingProfile.engine,
    pictures: listing.pictures,
    classes: listing.classes,
    counts: known ?? expectedCounts(listing.counts, listing.givenSplits, job.dataset.split),
    exact: census.exact,
    cached: census.cached,
    ...(census.exact ? { toExtract: census.toExtract } : {}),
    speeds: await measuredSpeeds(local, job, pinned, listing.classes.length),
    memoryBytes: totalmem(),
    local: true,
  });
  const obstacles = [...plan.obstacles, ...tooManyRejected(job, listing.pictures, census)];
  return {
    plan: { ...plan, obstacles },
    rejectedCount: census.rejectedCount,
    rejected: census.rejected,
    ignoredCount: listing.ignoredCount,
    ignored: listing.ignored,
  };
}

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
