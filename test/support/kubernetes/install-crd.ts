import type { TestCluster } from "./cluster.js";

const CRD = "deploy/k8s/base/graft-job-crd.yaml";

/** Installs the CRD of GraftJob, as a person would; resolves once the API server serves it. Runs in the repository's root, as tests do. */
export async function installCrd({ kubectl }: Pick<TestCluster, "kubectl">): Promise<void> {
  await kubectl(["apply", "-f", CRD]);
  // Conditions come together with the names; kubectl does not wait for a condition where there are none yet, but fails.
  for (const state of ["jsonpath={.status.acceptedNames.kind}=GraftJob", "condition=Established"])
    await kubectl(["wait", `--for=${state}`, "-f", CRD, "--timeout=60s"]);
}
