import { canonicalJson } from "../../domain/canonical-json.js";
import { domainPrefix } from "../../domain/features/cache-domain.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { Speeds } from "../../domain/job/plan.js";
import { featureRows } from "../../domain/job/expected-counts.js";
import { slotNames } from "../../domain/training/optimizer-programs.js";
import { jobRecord, planRecord, samplesRecord } from "../../formats/job-records/job-records.js";
import { asObject, parseJson } from "../../formats/json/json.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type { PinnedFeatures } from "../coordinator/plan-job.js";
import type { Local } from "./local.js";

/**
 * What the newest finished jobs of this store and the job's cache domain measured: views a second with the same features (network, cut, preprocessing, engine and decoder), milliseconds a step with
 * the same training on top. Nothing where no job fits; no step without a profile of the engine that trains.
 */
export async function measuredSpeeds(
  local: Local,
  job: ResolvedJob,
  features: PinnedFeatures,
  trainingProfile: NumericsProfile | undefined,
  classes: number,
): Promise<Speeds> {
  const work = trainingProfile && workOf(job, features, trainingProfile, classes);
  let extraction: { readonly value: number; readonly at: number } | undefined;
  let step: { readonly value: number; readonly at: number } | undefined;
  for await (const jobId of local.jobs.list()) {
    const objects = new JobObjects(local.store, jobId);
    const earlier = await objects.readJson("plan.json", planRecord);
    if (earlier?.featureSpecDigest !== features.featureSpecDigest || domainPrefix(earlier.domain) !== domainPrefix(features.domain))
      continue;
    const [record, samples, metrics] = [
      await objects.readJson("spec.json", jobRecord),
      await objects.readJson("samples/summary.json", samplesRecord),
      await objects.readResult("metrics.json"),
    ];
    if (record === undefined || samples === undefined || metrics === undefined) continue;
    const at = record.submittedMs;
    const { imagesPerSecond } = samples.extraction;
    const viewsEach = featureRows(samples.counts, earlier.views) / featureRows(samples.counts, 1);
    if (imagesPerSecond !== null && at >= (extraction?.at ?? 0)) extraction = { value: viewsEach * imagesPerSecond, at };
    const milliseconds = millisecondsPerStep(metrics, objects.keyOf("result/metrics.json"));
    const isSameWork = workOf(record.job, earlier, earlier.trainingProfile, samples.classes.length) === work;
    if (milliseconds !== undefined && isSameWork && at >= (step?.at ?? 0)) step = { value: milliseconds, at };
  }
  return {
    ...(extraction && { imagesPerSecond: { value: extraction.value, origin: "measured" as const } }),
    ...(step && { millisecondsPerStep: { value: step.value, origin: "measured" as const } }),
  };
}

/** What a step costs, whatever the data: the trained network, how it is divided, and what computes. Features alone do not tell networks apart: pictures themselves are those of any. */
function workOf(job: ResolvedJob, { backbone, featureSpecDigest, cut }: PinnedFeatures, profile: NumericsProfile, classes: number): string {
  const { batchSize, grains, optimizer, weightDecay, batchNorm, evaluateEvery, loss } = job.training;
  return canonicalJson({
    network: { digest: backbone.digest, lastLayer: job.backbone.lastLayer ?? null, cut, featureSpecDigest },
    head: { layers: job.head.layers, classes, loss: loss.kind },
    division: { batchSize, grains, trainers: job.trainers.max },
    update: { optimizer: optimizer.kind, slots: slotNames(optimizer), decays: weightDecay > 0 },
    batchNorm,
    evaluateEvery,
    profile,
  });
}

function millisecondsPerStep(metrics: Uint8Array, where: string): number | undefined {
  const { millisecondsPerStep: value } = asObject(asObject(parseJson(metrics, where), where)["training"], `${where}: training`);
  return typeof value === "number" && value > 0 ? value : undefined;
}
