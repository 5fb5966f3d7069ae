import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../domain/limits.js";
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
  let telemetry = "";

  beforeAll(async () => {
    graft = await GraftCluster.start();
    source = await graft.upload(pictures);
    const coordinator = await graft.coordinator({ kubernetes: { leaseMs: 15_000 } }); // as deployed
    telemetry = String((await coordinator.logged(({ msg }) => msg === "telemetry"))["address"]);
  });
  afterAll(async () => {
    await graft?.stop();
    folder.remove();
  });

  const listed = async (): Promise<GraftJobObject[]> =>
    (JSON.parse(await graft.control.kubectl(["get", "gj", "-n", NAMESPACE, "-o", "json"])) as { items: GraftJobObject[] }).items;
  /** Requests to the API server that the coordinator has sent so far; watches do not count. */
  const requests = async (): Promise<number> => {
    const text = await (await fetch(`http://${telemetry}/metrics`)).text();
    const counts = [...text.matchAll(/^graft_kubernetes_requests_total\{.*\} (\d+)$/gm)].map(([, count]) => Number(count));
    return counts.reduce((sum, count) => sum + count, 0);
  };
  /** The most requests a second of some seconds, and the mean, until `left` is 0. */
  const measured = async (left: () => Promise<number>): Promise<Readonly<Record<"seconds" | "requests" | "most" | "mean", number>>> => {
    const startMs = performance.now();
    const first = await requests();
    let [before, beforeMs, most] = [first, startMs, 0];
    while ((await left()) > 0) {
      const [now, nowMs] = [await requests(), performance.now()];
      if (nowMs - beforeMs < 2_000) continue;
      most = Math.max(most, ((now - before) * 1_000) / (nowMs - beforeMs));
      [before, beforeMs] = [now, nowMs];
    }
    const seconds = (performance.now() - startMs) / 1_000;
    const all = (await requests()) - first;
    return { seconds: Math.round(seconds), requests: all, most: Math.round(most), mean: Math.round(all / seconds) };
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
    const begun = await measured(async () => JOBS - (await listed()).filter(isTold).length);
    await graft.wait("among-them", "condition=Complete", 300);

    await graft.control.kubectl(["delete", "gj", "--all", "-n", NAMESPACE, "--wait=false"]);
    const ended = await measured(async () => (await listed()).length);
    expect(await graft.control.kubectl(["get", "jobs,pods", "-n", NAMESPACE, "-o", "name"])).toBe("");
    console.info({ begun, ended });
    // Of two seconds and more each: the bound, and what a second without requests has left over.
    expect(Math.max(begun.most, ended.most)).toBeLessThanOrEqual(limits.kubernetesRequestsPerSecond * 1.5);
    const store = await graft.openStore();
    const left = new Set<string>();
    for await (const key of store.list("jobs/")) left.add(key.split("/")[1] ?? "");
    expect([...left].length).toBeLessThanOrEqual(1); // the result of the job that ran
  });
});
