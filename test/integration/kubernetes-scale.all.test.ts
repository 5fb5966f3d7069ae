import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { GraftJobObject } from "../../formats/kubernetes/objects.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { missingForControlPlane } from "../support/kubernetes/cluster.js";
import { GraftCluster, NAMESPACE } from "../support/kubernetes/graft-cluster.js";
import { jobOn, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";

const missing = [
  ...(missingForControlPlane() === undefined ? [] : [missingForControlPlane()]),
  ...(["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram),
];
const because = missing.length === 0 ? "a control plane of its own" : missing.join("; ");
const JOBS = 1_000;

describe.skipIf(missing.length > 0)(`a thousand GraftJobs at once (${because})`, () => {
  const folder = temporaryFolder();
  const pictures = samplePictures(join(folder.path, "pictures"), 4);
  let graft: GraftCluster;
  let source = "";

  beforeAll(async () => {
    graft = await GraftCluster.start();
    source = await graft.upload(pictures);
    await graft.coordinator();
  });
  afterAll(async () => {
    await graft?.stop();
    folder.remove();
  });

  const listed = async (): Promise<GraftJobObject[]> =>
    (JSON.parse(await graft.control.kubectl(["get", "gj", "-n", NAMESPACE, "-o", "json"])) as { items: GraftJobObject[] }).items;
  /** Requests of the coordinator, as the API server counted them; watches are counted once each. */
  const requests = async (): Promise<number> => {
    const text = await graft.control.kubectl(["get", "--raw", "/metrics"]);
    const rows = text
      .split("\n")
      .filter((line) => /^apiserver_request_total\{/.test(line) && /group="graft\.dev"|resource="(jobs|podtemplates|events)"/.test(line));
    const own = rows.filter(
      (line) =>
        /verb="(POST|PUT|PATCH|DELETE)"/.test(line) &&
        !/subresource="status".*resource="jobs"|resource="jobs".*subresource="status"/.test(line),
    );
    return own.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  };
  /** The most writes of one second, and of all of them the mean, until `holds`. */
  const measured = async (holds: () => Promise<boolean>): Promise<{ seconds: number; most: number; mean: number }> => {
    const startMs = performance.now();
    const first = await requests();
    let [before, beforeMs, most] = [first, startMs, 0];
    while (!(await holds())) {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      const [now, nowMs] = [await requests(), performance.now()];
      most = Math.max(most, ((now - before) * 1_000) / (nowMs - beforeMs));
      [before, beforeMs] = [now, nowMs];
    }
    const seconds = (performance.now() - startMs) / 1_000;
    return { seconds, most, mean: ((await requests()) - first) / seconds };
  };

  test(`${String(JOBS)} jobs that no node takes: each says so, a job among them runs to its end, all are cleaned up; never more requests a second than allowed`, async () => {
    const spec = {
      ...jobOn(source, { ...smallJob, training: { ...smallJob.training, steps: 20, batchSize: 8, grains: 1 } }),
      dataset: { source, credentialsSecret: "pictures" },
    };
    const gpu = { pod: { resources: { requests: { "nvidia.com/gpu": "1" }, limits: { "nvidia.com/gpu": "1" } } } };
    const waiting = { ...spec, extractors: { max: 1, ...gpu }, trainers: { max: 1, ...gpu } };
    const items = Array.from({ length: JOBS }, (_, index) => ({
      apiVersion: "graft.dev/v1alpha1",
      kind: "GraftJob",
      metadata: { name: `job-${String(index)}`, namespace: NAMESPACE },
      spec: waiting,
    }));
    await graft.control.kubectl(["create", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    await graft.submit("among-them", spec);
    const isTold = ({ status }: GraftJobObject): boolean =>
      status?.conditions?.some(({ type, reason }) => type === "Progressing" && reason === "WorkersUnschedulable") === true;
    const begun = await measured(async () => (await listed()).filter(isTold).length === JOBS);
    await graft.wait("among-them", "condition=Complete", 300);

    await graft.control.kubectl(["delete", "gj", "--all", "-n", NAMESPACE, "--wait=false"]);
    const ended = await measured(async () => (await listed()).length === 0);
    expect(await graft.control.kubectl(["get", "jobs,pods", "-n", NAMESPACE, "-o", "name"])).toBe("");
    console.info({ begun, ended });
    // Of two seconds each; the API server's own controllers write some of what is counted.
    expect(Math.max(begun.most, ended.most)).toBeLessThan(250);
    const store = await graft.openStore();
    const left = new Set<string>();
    for await (const key of store.list("jobs/")) left.add(key.split("/")[1] ?? "");
    expect([...left].length).toBeLessThanOrEqual(1); // the result of the job that ran
  });
});
