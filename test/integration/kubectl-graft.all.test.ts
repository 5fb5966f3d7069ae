import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openKubernetesAccess } from "../../platform/access/kubernetes.js";
import { systemClock } from "../../platform/clock/system.js";
import { jobServiceHandlers } from "../../platform/job-service/grpc-server.js";
import type { JobReference, JobService, ListJobs } from "../../platform/job-service/job-service.js";
import { portWith, serveForTest } from "../support/grpc-services.js";
import { missingForControlPlane, startControlPlane, type TestCluster } from "../support/kubernetes/cluster.js";
import { installCrd } from "../support/kubernetes/install-crd.js";
import { type KubectlGraft, kubectlGraft, kubeconfigWith, type Right } from "../support/kubernetes/kubectl-graft.js";

const missing = missingForControlPlane();

describe.skipIf(missing !== undefined)(`kubectl graft and the API server (${missing ?? "level 1"})`, () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-kubectl-"));
  let cluster: TestCluster;
  let start: (args: readonly string[], kubeconfig?: string) => KubectlGraft;
  const run = async (args: readonly string[], kubeconfig?: string) => {
    const program = start(args, kubeconfig);
    return { exitCode: await program.ended, ...program.printed() };
  };

  beforeAll(async () => {
    cluster = await startControlPlane();
    start = kubectlGraft(cluster, folder);
    await installCrd(cluster);
    for (const namespace of ["team-a", "graft"]) await cluster.kubectl(["create", "namespace", namespace]);
    await cluster.kubectl(["create", "serviceaccount", "graft-client", "-n", "team-a"]);
  });
  afterAll(async () => {
    await cluster.stop();
    rmSync(folder, { recursive: true });
  });

  const kubeconfigOf = (name: string, rights: readonly Right[]): Promise<string> => kubeconfigWith(cluster, folder, name, rights);
  const mayMakeTokens = ["--verb=create", "--resource=serviceaccounts/token", "--resource-name=graft-client"];

  test("an address that is given is asked with a token of the job's namespace, about that namespace", async () => {
    const asked: (JobReference | ListJobs)[] = [];
    const callers = new Set<string>();
    const jobs = portWith<JobService>({
      listJobs: (page) => {
        asked.push(page);
        return Promise.resolve({ jobs: [], nextPageToken: "" });
      },
      explainJob: (job) => {
        asked.push(job);
        return Promise.resolve([{ subject: "job", message: "stands", depth: 0 }]);
      },
    });
    const access = openKubernetesAccess({ kubeconfig: cluster.kubeconfig, audience: "graft", clock: systemClock });
    const services = [jobServiceHandlers(({ user }) => (callers.add(user), jobs))];
    const { address } = await serveForTest({}, {}, { access, services });
    const ada = await kubeconfigOf("ada", [["team-a", ...mayMakeTokens]]);
    expect(await run(["explain", "flowers", "--server", address], ada)).toEqual({ exitCode: 0, stdout: "job: stands\n", stderr: "" });
    expect(await run(["get", "--server", address], ada)).toMatchObject({
      exitCode: 0,
      stdout: "no jobs in namespace team-a yet; submit one with: kubectl graft submit job.yaml\n",
    });
    expect(await run(["get", "-A", "--server", address], ada)).toMatchObject({ exitCode: 0 });
    expect(asked).toEqual([
      { name: "flowers", namespace: "team-a" },
      { namespace: "team-a", pageSize: 1_000, phases: [] },
      { pageSize: 1_000, phases: [] },
    ]);

    expect([...callers]).toEqual(["system:serviceaccount:team-a:graft-client"]);

    // Where it is not allowed, or not prepared, exactly that is said, and nobody is asked.
    const bob = await kubeconfigOf("bob", []);
    const refused = await run(["get", "--server", address], bob);
    expect(refused.exitCode).toBe(6);
    expect(refused.stderr).toMatch(
      /create a token of ServiceAccount team-a\/graft-client: 403 .*system:serviceaccount:default:bob.*; missing is the right to "create" on "serviceaccounts\/token" with the name graft-client in namespace team-a.* \[CLUSTER_REFUSED\]\n$/,
    );
    const unprepared = await run(["get", "--server", address, "-n", "default"]);
    expect(unprepared.stderr).toMatch(/serviceaccounts "graft-client" not found; namespace default is not prepared for graft/);
    expect(asked).toHaveLength(3);
  });

  test("what is missing on the way to the coordinator is said", async () => {
    const cy = await kubeconfigOf("cy", []);
    expect((await run(["get"])).stderr).toMatch(/^graft: no Service graft-coordinator in namespace graft-system or graft; say where/);
    expect((await run(["get"], cy)).stderr).toMatch(/missing is the right to "get" Service graft-coordinator there/);
    await cluster.kubectl(["create", "service", "clusterip", "graft-coordinator", "--tcp=7070:7070", "-n", "graft"]);
    // Whoever may not look into one namespace may be led by the other.
    const dee = await kubeconfigOf("dee", [
      ["graft", "--verb=get", "--resource=services"],
      ["team-a", ...mayMakeTokens],
    ]);
    expect((await run(["get"], dee)).stderr).toMatch(/list Pods of graft with app=graft-coordinator: 403 .*pods is forbidden/);
    const { exitCode, stderr } = await run(["get", "-n", "team-a"]);
    expect(stderr).toMatch(/no coordinator leads in namespace graft: no running pod with app=graft-coordinator; try again in a moment/);
    expect(exitCode).toBe(6);
    expect((await run(["get", "--system-namespace", "team-a"])).stderr).toMatch(/no Service graft-coordinator in namespace team-a;/);
  });

  test("logs of pods that have none say why, and a job that is not there is named", async () => {
    expect((await run(["logs", "flowers", "-n", "team-a"])).stderr).toBe(
      "graft: no GraftJob flowers in namespace team-a; list them with: kubectl get graftjobs -n team-a [JOB_NOT_FOUND]\n",
    );
    const job = { apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { name: "flowers" } };
    await cluster.kubectl(
      ["apply", "-n", "team-a", "-f", "-"],
      JSON.stringify({ ...job, spec: { dataset: { source: "s3://pictures/" } } }),
    );
    expect(await run(["logs", "flowers", "-n", "team-a"])).toMatchObject({
      exitCode: 0,
      stdout: "",
      stderr: "graft: no pod of flowers in namespace team-a has a log to show\n",
    });
    const uid = await cluster.kubectl(["get", "gj", "flowers", "-n", "team-a", "-o", "jsonpath={.metadata.uid}"]);
    const labels = { "graft.dev/job-uid": uid, "app.kubernetes.io/component": "trainer" };
    const spec = { containers: [{ name: "worker", image: "localhost/none:1", resources: { requests: { cpu: "64" } } }] };
    await cluster.kubectl(
      ["apply", "-n", "team-a", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "flowers-trainers-x", labels }, spec }),
    );
    await vi.waitFor(
      async () =>
        expect((await run(["logs", "flowers", "-n", "team-a"])).stderr).toMatch(
          /^graft: pod flowers-trainers-x: not started: Unschedulable: no nodes available to schedule pods/,
        ),
      { timeout: 30_000 },
    );
    expect((await run(["logs", "flowers", "-n", "team-a", "--role", "extractor"])).stderr).toMatch(/^graft: no pod of flowers/);
    expect((await run(["logs", "flowers", "--role", "nobody"])).stderr).toMatch(/must be one of extractor, trainer, coordinator/);
    const eve = await kubeconfigOf("eve", [["team-a", "--verb=get", "--resource=graftjobs.graft.dev"]]);
    expect((await run(["logs", "flowers", "-f"], eve)).stderr).toMatch(
      /list \/api\/v1\/namespaces\/team-a\/pods: 403 .*cannot list resource "pods"/,
    );
  });
});
