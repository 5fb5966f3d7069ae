import { basename, resolve } from "node:path";
import { CodedError } from "../domain/errors.js";
import { byteSize, count } from "../domain/job/figures.js";
import { systemClock } from "../platform/clock/system.js";
import { uploadTo } from "../platform/dataset-source/open-dataset.js";
import { s3Access } from "./config.js";
import { localCluster } from "./local-cluster.js";

export interface UploadFlags {
  readonly to?: string;
  readonly json?: boolean;
}

/** Brings a folder into a bucket and returns its address there: `--to`, or a prefix with the folder's name beside the store of a cluster on this machine. */
export async function uploadFolder(folder: string, flags: UploadFlags, onKubernetes: boolean): Promise<string> {
  const cluster = onKubernetes ? undefined : await localCluster();
  const to = flags.to ?? (cluster && `${cluster.store.replace(/\/[^/]*$/, "")}/datasets/${encodeURIComponent(basename(resolve(folder)))}/`);
  if (to === undefined)
    throw new CodedError(
      "USAGE_INVALID",
      `--upload ${folder}: say where to with --to s3://bucket/prefix/${onKubernetes ? `; ${reach}` : ""}`,
    );
  let shown = 0;
  const { source, files, skipped, bytes } = await uploadTo(
    folder,
    to,
    s3Access() ?? cluster?.s3,
    { clock: systemClock, random: Math.random },
    ({ files: done }) => {
      if (flags.json === true || done - shown < SHOWN_EVERY) return;
      shown = done;
      process.stdout.write(`upload: ${count(done)} files\n`);
    },
  ).catch((error: unknown) => {
    const isAway = onKubernetes && error instanceof CodedError && ["STORE_UNAVAILABLE", "CONFIG_INVALID"].includes(error.code);
    throw isAway ? new CodedError(error.code, `${error.message}; ${reach}`, error.details, error) : error;
  });
  if (flags.json !== true)
    process.stdout.write(`upload: ${count(files, "file")} at ${source}, ${count(skipped)} were there before, ${byteSize(bytes)} sent\n`);
  return source;
}

const SHOWN_EVERY = 1_000;

/** What an upload to a cluster needs. */
const reach =
  "this machine writes to the store itself: set GRAFT_S3_ENDPOINT, GRAFT_S3_ACCESS_KEY and GRAFT_S3_SECRET_KEY to an address and keys that work from here (a store inside the cluster has one with: kubectl -n NAMESPACE port-forward service/minio 9000)";
