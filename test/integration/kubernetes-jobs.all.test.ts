import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { missingForControlPlane } from "../support/kubernetes/cluster.js";
import { GraftCluster, NAMESPACE } from "../support/kubernetes/graft-cluster.js";
import { finished, jobOn, richJob, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";

const missing = [
  ...(missingForControlPlane() === undefined ? [] : [missingForControlPlane()]),
  ...(["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram),
];
const because = missing.length === 0 ? "a control plane of its own" : missing.join("; ");

describe.skipIf(missing.length > 0)(`GraftJobs on a Kubernetes API server (${because})`, () => {
  const folder = temporaryFolder();
  const pictures = samplePictures(join(folder.path, "pictures"), 24);
  let graft: GraftCluster;
  let source = "";
  let expected = "";

  beforeAll(async () => {
    [graft, expected] = await Promise.all([
      GraftCluster.start(),
      finished({ store: join(folder.path, "local"), spec: jobOn(pictures, richJob) }).then(({ result }) => result.metrics.weightsSha256),
    ]);
    source = await graft.upload(pictures);
    await graft.coordinator();
  });
  afterAll(async () => {
    await graft?.stop();
    folder.remove();
  });

  const spec = (job = richJob, workers = { trainers: 1, extractors: 2 }) => {
    const of = jobOn(source, job, workers);
    return { ...of, dataset: { ...of.dataset, credentialsSecret: "pictures" } };
  };

  test("a good job completes; kubectl wait returns, its weights are those of one process, and nothing is left running", async () => {
    await graft.submit("good", spec());
    expect(await graft.digest("good")).toBe(expected);
    const job = await graft.read("good");
    expect(job.status?.conditions?.map(({ type, status, reason }) => `${type}=${status} ${reason}`)).toEqual([
      "Complete=True Complete",
      "Progressing=False Complete",
      "Suspended=False NotSuspended",
    ]);
    console.log(
      await graft.control.kubectl(["get", "gj,jobs,pods", "-n", NAMESPACE]),
      await graft.control.kubectl(["describe", "gj", "good", "-n", NAMESPACE]),
    );
  });
});
