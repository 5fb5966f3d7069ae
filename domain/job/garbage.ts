import type { Phase } from "./transitions.js";
import { isFinal } from "./transitions.js";

/** What may be deleted is at least this old: whoever is about to refer to an object does so within minutes of writing it. */
export const garbageAgeMs = 24 * 60 * 60 * 1000;

/** What `graft gc` knows of a store before it deletes anything. Read after the objects' names, so that what has been referred to since then counts. */
export interface StoreReferences {
  /** Phase of each job that has a spec; undefined where its status cannot be read. */
  readonly jobs: ReadonlyMap<string, Phase | undefined>;
  /** Of each folder of features (`featureFolder`) the shards and thumbnails that its index names; "unknown" where part of the index cannot be read. Absent: not looked at. */
  readonly features: ReadonlyMap<string, FeatureReferences | "unknown">;
  /** Folders of features that unfinished jobs use; "any" where one has not decided yet. */
  readonly featuresInUse: ReadonlySet<string> | "any";
}

export interface FeatureReferences {
  readonly shards: ReadonlySet<string>;
  readonly thumbnails: ReadonlySet<string>;
}

/** The folder of features that an object lies in, in its cache domain (domain/features/cache-domain.ts); undefined for other objects. */
export function featureFolder(key: string): string | undefined {
  return /^((?:domains\/[^/]+\/)?features\/[^/]+)\//.exec(key)?.[1];
}

/** Why nothing needs an object, for people; undefined keeps it. Age is judged besides. Whatever is not known here is kept. */
export function garbageReason(key: string, references: StoreReferences): string | undefined {
  const folder = featureFolder(key);
  if (folder !== undefined) return featureGarbage(folder, key.slice(folder.length + 1), references);
  const [root = "", owner = "", part = ""] = key.split("/");
  if (root === "jobs") return jobGarbage(owner, part, references);
  return /^doctor-[0-9a-f-]{36}$/.test(root) ? "left by graft doctor" : undefined;
}

function featureGarbage(folder: string, path: string, { features, featuresInUse }: StoreReferences): string | undefined {
  const [part = "", name = ""] = path.split("/");
  if (part === "quarantine") return "damaged features, put aside";
  if (part !== "shards" && part !== "thumbnails") return undefined;
  if (featuresInUse === "any" || featuresInUse.has(folder)) return undefined;
  const named = features.get(folder);
  if (named === undefined || named === "unknown") return undefined;
  const sha256 = /^([0-9a-f]{64})\.arrow$/.exec(name)?.[1];
  return sha256 === undefined || named[part].has(sha256) ? undefined : `${part} that no index names`;
}

function jobGarbage(jobId: string, part: string, { jobs }: StoreReferences): string | undefined {
  if (!jobs.has(jobId)) return "of a deleted job";
  const phase = jobs.get(jobId);
  if (phase === undefined || !isFinal(phase)) return undefined;
  if (part === "checkpoints" && phase !== "Failed") return "checkpoints of a finished job";
  if (part === "result" && phase !== "Complete") return "part of a result of a job that has none";
  return undefined;
}
