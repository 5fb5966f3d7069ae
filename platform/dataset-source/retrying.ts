import { retry, type RetryDeps, type RetryPolicy } from "../retry/retry.js";
import type { OpenedDataset } from "./dataset-source.js";

/** A dataset whose pictures are read again after a passing failure (DATASET_UNREADABLE). A listing is not: it is repeated as a whole by whoever runs the job again. */
export function retryingDataset({ source, manifest }: OpenedDataset, policy: RetryPolicy, deps: RetryDeps): OpenedDataset {
  return {
    source: { location: source.location, list: () => source.list(), read: (file) => retry(policy, () => source.read(file), deps) },
    manifest,
  };
}
