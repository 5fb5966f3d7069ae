import { CodedError } from "../../domain/errors.js";
import { domainPrefix } from "../../domain/features/cache-domain.js";
import { featureSpecDigest } from "../../domain/features/feature-spec.js";
import { featureFolder, type FeatureReferences, garbageAgeMs, garbageReason, type StoreReferences } from "../../domain/job/garbage.js";
import type { PlanRecord } from "../../domain/job/records.js";
import { isFinal, type Phase, phases } from "../../domain/job/transitions.js";
import { decodeIndexEntry } from "../../formats/feature-index/feature-index.js";
import type { Clock } from "../../platform/clock/clock.js";
import { JobObjects, type JobStore } from "../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";

/** An object that nothing needs any more. */
export interface Garbage {
  readonly key: string;
  readonly bytes: number;
  readonly reason: string;
}

/** Objects that are looked at and deleted at the same time. */
const AT_ONCE = 16;

/**
 * Finds what is old enough and needed by nothing (domain/job/garbage.ts), and deletes it unless `dryRun`. Safe beside running jobs.
 * `jobs` must know every job whose facts are in the store.
 */
export async function collectGarbage(
  { store, jobs, clock }: { readonly store: ObjectStore; readonly jobs: JobStore; readonly clock: Pick<Clock, "now"> },
  dryRun: boolean,
  found: (garbage: Garbage) => void,
): Promise<void> {
  // 1. Names first, what refers to them afterwards: an object that somebody refers to meanwhile counts as referred to.
  const keys: string[] = [];
  for (const prefix of ["features/", "domains/", "jobs/", "doctor-"]) for await (const key of store.list(prefix)) keys.push(key);
  const references = await referencesOf(store, jobs, keys);

  // 2. Age, only of what nothing refers to.
  const oldestKept = clock.now() - garbageAgeMs;
  const candidates = keys.flatMap((key) => {
    const reason = garbageReason(key, references);
    return reason === undefined ? [] : [{ key, reason }];
  });
  for (let at = 0; at < candidates.length; at += AT_ONCE) {
    const old = await Promise.all(
      candidates.slice(at, at + AT_ONCE).map(async ({ key, reason }) => {
        const stat = await store.stat(key);
        return stat !== undefined && stat.modifiedMs < oldestKept ? [{ key, reason, bytes: stat.bytes }] : [];
      }),
    );
    // 3. Delete.
    for (const garbage of old.flat()) {
      if (!dryRun) await store.delete(garbage.key);
      found(garbage);
    }
  }
}

async function referencesOf(store: ObjectStore, jobs: JobStore, keys: readonly string[]): Promise<StoreReferences> {
  const phaseOfJob = new Map<string, Phase | undefined>();
  const inUse = new Set<string>();
  let isUndecided = false;
  for await (const jobId of jobs.list()) {
    const phase = await readPhase(jobs, jobId);
    phaseOfJob.set(jobId, phase);
    if (phase !== undefined && isFinal(phase)) continue;
    const folders = await featureFoldersOf(store, jobId);
    if (folders === undefined) isUndecided = true;
    else for (const folder of folders) inUse.add(folder);
  }
  const features = new Map<string, FeatureReferences | "unknown">();
  for (const folder of new Set(keys.flatMap((key) => featureFolder(key) ?? []))) features.set(folder, await readIndex(store, folder));
  return { jobs: phaseOfJob, features, featuresInUse: isUndecided ? "any" : inUse };
}

/** Undefined where the status is missing or damaged: such a job counts as unfinished. */
async function readPhase(jobs: JobStore, jobId: string): Promise<Phase | undefined> {
  const phase = await unlessCorrupt(() => jobs.readStatus(jobId, (value) => (value as { readonly phase?: unknown } | null)?.phase));
  return phases.find((known) => known === phase);
}

/** Folders of the features that a job uses; undefined where it is not planned yet or its plan cannot be read. */
async function featureFoldersOf(store: ObjectStore, jobId: string): Promise<string[] | undefined> {
  const plan = await unlessCorrupt(() =>
    new JobObjects(store, jobId).readJson("plan.json", (value) => value as Partial<PlanRecord> | null),
  );
  if (typeof plan?.featureSpecDigest !== "string" || plan.viewSpec === undefined) return undefined;
  const digests = [plan.featureSpecDigest, ...(plan.viewSpec === null ? [] : [featureSpecDigest(plan.viewSpec)])];
  return digests.map((digest) => `${domainPrefix(plan.domain)}features/${digest}`);
}

/** What the whole index names: a shard counts from the entry that adds it to the one that quarantines it. */
async function readIndex(store: ObjectStore, folder: string): Promise<FeatureReferences | "unknown"> {
  const shards = new Map<string, string | null>();
  for (let n = 0; ; n++) {
    const key = `${folder}/index/${n}.json`;
    const entry = await unlessCorrupt(async () => {
      const body = await store.read(key);
      return body === undefined ? "end" : decodeIndexEntry(body, key);
    });
    if (entry === undefined) return "unknown";
    if (entry === "end") break;
    if (entry.kind === "quarantine") shards.delete(entry.shard);
    else for (const { sha256, thumbnails } of entry.shards) shards.set(sha256, thumbnails);
  }
  return { shards: new Set(shards.keys()), thumbnails: new Set([...shards.values()].filter((name) => name !== null)) };
}

async function unlessCorrupt<T>(operation: () => Promise<T>): Promise<T | undefined> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof CodedError && (error.code === "OBJECT_CORRUPT" || error.code === "STORE_FORMAT_NEWER")) return undefined;
    throw error;
  }
}
