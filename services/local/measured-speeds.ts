import { canonicalJson } from "../../domain/canonical-json.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import type { PlanInputs } from "../../domain/job/plan.js";
import type { PlanRecord } from "../../domain/job/records.js";
import { jobRecord, planRecord, samplesRecord } from "../../formats/job-records/job-records.js";
import { asObject, parseJson } from "../../formats/json/json.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type { Local } from "./local.js";

type Speeds = NonNullable<PlanInputs["speeds"]>;

/**
 * What the newest finished jobs of this store measured: pictures a second with the same features (network, cut, preprocessing, engine and decoder), milliseconds a step with
 * the same training on top. Nothing where no job fits.
 */
export async function measuredSpeeds(local: Local, job: ResolvedJob, plan: PlanRecord, classes: number): Promise<Speeds> {
  let extraction: { readonly value: number; readonly at: number } | undefined;
  let step: { readonly value: number; readonly at: number } | undefined;
  for await (const jobId of local.jobs.list()) {
    const objects = new JobObjects(local.store, jobId);
    const earlier = await objects.readJson("plan.json", planRecord);
    if (earlier?.featureSpecDigest !== plan.featureSpecDigest) continue;
    const [record, samples, metrics] = [
      await objects.readJson("spec.json", jobRecord),
      await objects.readJson("samples/summary.json", samplesRecord),
      await objects.readResult("metrics.json"),
    ];
    if (record === undefined || samples === undefined || metrics === undefined) continue;
    const at = record.submittedMs;
    const { imagesPerSecond } = samples.extraction;
    if (imagesPerSecond !== null && at >= (extraction?.at ?? 0)) extraction = { value: imagesPerSecond, at };
    const milliseconds = millisecondsPerStep(metrics, objects.keyOf("result/metrics.json"));
    const sameTraining = canonicalJson(workOf(record.job)) === canonicalJson(workOf(job)) && samples.classes.length === classes;
    if (milliseconds !== undefined && sameTraining && at >= (step?.at ?? 0)) step = { value: milliseconds, at };
  }
  return {
    ...(extraction && { imagesPerSecond: { value: extraction.value, origin: "measured" as const } }),
    ...(step && { millisecondsPerStep: { value: step.value, origin: "measured" as const } }),
  };
}

/** What a step costs, whatever the data. */
function workOf({ head, training: { batchSize, grains, optimizer } }: ResolvedJob): unknown {
  return { layers: head.layers, batchSize, grains, optimizer: optimizer.kind };
}

function millisecondsPerStep(metrics: Uint8Array, where: string): number | undefined {
  const { millisecondsPerStep: value } = asObject(asObject(parseJson(metrics, where), where)["training"], `${where}: training`);
  return typeof value === "number" && value > 0 ? value : undefined;
}
