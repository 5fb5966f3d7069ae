import { CodedError } from "../../../domain/errors.js";
import type { ResolvedJob } from "../../../domain/job/job.js";
import { type Problem, specInvalid } from "../../../domain/job/problems.js";
import { resolveJob } from "../../../domain/job/resolve.js";
import type { JobSpec } from "../../../domain/job/spec.js";

/** Cache domains that several namespaces may use, by name. */
export type SharedDomains = Readonly<Record<string, readonly string[]>>;

/**
 * A job of a namespace: what `resolveJob` says, and what keeps tenants apart. Nothing is read with the coordinator's own rights: pictures lie in a bucket to which the job brings the keys, weights come from a result
 * of the same namespace; features are shared within the namespace, or in a domain that the operator opened to it.
 * @throws CodedError SPEC_INVALID with every problem
 */
export function resolveGraftJob(
  {
    metadata: { name, namespace },
    spec,
  }: { readonly metadata: { readonly name: string; readonly namespace: string }; readonly spec: JobSpec },
  sharedDomains: SharedDomains,
): ResolvedJob {
  const subject = `job ${namespace}/${name}`;
  const job = resolveJob(spec, subject, "kubernetes");
  const problems: Problem[] = [];
  if (!job.dataset.source.startsWith("s3://"))
    problems.push({
      path: "dataset.source",
      message: `must be s3://bucket/prefix/ on Kubernetes, found ${JSON.stringify(job.dataset.source.slice(0, 200))}`,
    });
  else if (spec.dataset?.credentialsSecret === undefined)
    problems.push({
      path: "dataset.credentialsSecret",
      message: `is required on Kubernetes: a Secret of type graft.dev/dataset-credentials in namespace ${namespace} with endpoint, accessKey and secretKey`,
    });
  const domain = spec.cacheDomain ?? namespace;
  if (domain !== namespace && sharedDomains[domain]?.includes(namespace) !== true)
    problems.push({
      path: "cacheDomain",
      message: `must be ${namespace}, the job's namespace, or one that the coordinator's config opens to it (kubernetes.cacheDomains), found ${JSON.stringify(domain)}`,
    });
  if (problems.length > 0) throw specInvalid(subject, problems);
  return { ...job, cacheDomain: domain };
}

/** The keys to a dataset out of a job's Secret. @throws CodedError DATASET_INVALID naming what is missing */
export function datasetKeys(
  secret: string,
  values: ReadonlyMap<string, string>,
): { readonly endpoint: string; readonly accessKey: string; readonly secretKey: string; readonly region: string } {
  const [endpoint, accessKey, secretKey] = ["endpoint", "accessKey", "secretKey"].map((key) => {
    const value = values.get(key)?.trim();
    if (value !== undefined && value !== "") return value;
    throw new CodedError(
      "DATASET_INVALID",
      `Secret ${secret}: has no ${key}; keys to a dataset have endpoint, accessKey, secretKey and perhaps region`,
    );
  }) as [string, string, string];
  return { endpoint, accessKey, secretKey, region: values.get("region")?.trim() ?? "us-east-1" };
}
