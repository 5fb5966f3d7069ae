import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { JobResource } from "../../domain/job/resource.js";
import { limits } from "../../domain/limits.js";
import { openKubernetesAccess } from "../../platform/access/kubernetes.js";
import type { Clock } from "../../platform/clock/clock.js";
import { systemClock } from "../../platform/clock/system.js";
import { grpcClient, openChannel, type GrpcChannel } from "../../platform/grpc/client.js";
import { serveGrpc, type RunningServer } from "../../platform/grpc/server.js";
import { jobServiceHandlers } from "../../platform/job-service/grpc-server.js";
import type { JobService as JobServicePort } from "../../platform/job-service/job-service.js";
import { workServiceHandlers } from "../../platform/work-service/grpc-server.js";
import type { WorkService as WorkServicePort } from "../../platform/work-service/work-service.js";
import { JobService } from "../../proto/gen/graft/v1/job_service_pb.js";
import { WorkService } from "../../proto/gen/graft/v1/work_service_pb.js";
import { AuthorizedJobs } from "../../services/coordinator/authorized-jobs.js";
import { AuthorizedWork } from "../../services/coordinator/authorized-work.js";
import type { Jobs, KnownJob } from "../../services/coordinator/jobs.js";
import { portWith } from "../support/grpc-services.js";
import { missingForControlPlane, startControlPlane, type TestCluster } from "../support/kubernetes/cluster.js";
import { installCrd } from "../support/kubernetes/install-crd.js";

/** Who may call the coordinator, on a real API server with real tokens of service accounts. */
const noControlPlane = missingForControlPlane();

const call = { deadlineMs: 30_000 };
const profile = { engine: "e", engineVersion: "1", device: "cpu", instructionSet: "avx2", threads: 0, batch: 0, decoder: "" };
const folder = mkdtempSync(join(tmpdir(), "graft-access-"));
const spec = { dataset: { source: "s3://pictures/flowers/" } };

/** A coordinator's service account has these rights and no more (deploy/k8s); people those of the roles that they are bound to. */
const objects = [
  ...["graft-system", "team-a", "team-b"].map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })),
  ...["graft-system/coordinator", "team-a/editor", "team-a/viewer", "team-a/gone", "team-a/graft-worker", "team-b/editor"].map((path) => {
    const [namespace, name] = path.split("/");
    return { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace, name } };
  }),
  role("coordinator", [
    { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
    { apiGroups: ["authorization.k8s.io"], resources: ["subjectaccessreviews"], verbs: ["create"] },
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: ["batch"], resources: ["jobs"], verbs: ["get"] },
    { apiGroups: ["graft.dev"], resources: ["graftjobs"], verbs: ["get"] },
  ]),
  role("editor", [
    { apiGroups: ["graft.dev"], resources: ["graftjobs"], verbs: ["create", "get", "list", "watch", "update", "patch", "delete"] },
  ]),
  role("viewer", [{ apiGroups: ["graft.dev"], resources: ["graftjobs"], verbs: ["get", "list", "watch"] }]),
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "coordinator" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "coordinator" },
    subjects: [{ kind: "ServiceAccount", namespace: "graft-system", name: "coordinator" }],
  },
  ...["team-a/editor", "team-a/viewer", "team-b/editor"].map((path) => {
    const [namespace, name] = path.split("/");
    return {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { namespace, name },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
      subjects: [{ kind: "ServiceAccount", namespace, name }],
    };
  }),
];

function role(name: string, rules: readonly object[]): object {
  return { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules };
}

interface Meta {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

describe.skipIf(noControlPlane !== undefined)(`access on Kubernetes (${noControlPlane ?? "level 1"})`, () => {
  let cluster: TestCluster;
  let server: RunningServer;
  let jobs: readonly Meta[];
  /** Requests to the API server, by what they are for. */
  const asked: string[] = [];
  const worked: unknown[] = [];
  const unexpected: unknown[] = [];
  const channels: GrpcChannel[] = [];
  let aheadMs = 0;
  const clock: Clock = {
    now: () => systemClock.now() + aheadMs,
    monotonic: () => systemClock.monotonic() + aheadMs,
    sleep: (durationMs, signal) => systemClock.sleep(durationMs, signal),
  };

  const apply = (...items: readonly object[]): Promise<string> =>
    cluster.kubectl(["apply", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  const metaOf = async (kind: string, namespace: string, ...which: readonly string[]): Promise<Meta> => {
    const found = JSON.parse(await cluster.kubectl(["get", kind, "-n", namespace, "-o", "json", ...which])) as {
      readonly metadata: Meta;
      readonly items?: readonly { readonly metadata: Meta }[];
    };
    return found.items === undefined ? found.metadata : found.items[0]!.metadata;
  };
  const tokenOf = async (namespace: string, account: string, flags: readonly string[] = ["--audience", "graft"]): Promise<string> =>
    (await cluster.kubectl(["create", "token", account, "-n", namespace, "--duration", "10m", ...flags])).trim();
  const podToken = ({ namespace, name, uid }: Meta): Promise<string> =>
    tokenOf(namespace, "graft-worker", [
      ...["--audience", "graft", "--bound-object-kind", "Pod", "--bound-object-name", name, "--bound-object-uid", uid],
    ]);
  const open = (token: string | undefined): GrpcChannel => {
    const channel = openChannel({ address: `127.0.0.1:${server.port}`, tls: "plaintext", ...(token !== undefined && { token }) });
    channels.push(channel);
    return channel;
  };
  const jobsAs = (token: string | undefined) => grpcClient(JobService, open(token));
  const workAs = (token: string) => grpcClient(WorkService, open(token));
  const getAs = (token: string | undefined) => jobsAs(token).getJob({ job: { namespace: "team-a", name: "flowers" } }, call);

  /** A batch Job as the coordinator makes it; its controller makes the pod. */
  const startWorkers = async (job: Meta, metadata: object = {}): Promise<Meta> => {
    const labels = { "graft.dev/job-uid": job.uid, "graft.dev/job": job.name };
    const name = `${job.name}-trainers`;
    await apply({
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: {
        ...{ namespace: job.namespace, name, labels },
        ownerReferences: [{ apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", name: job.name, uid: job.uid, controller: true }],
        ...metadata,
      },
      spec: { template: { metadata: { labels }, spec: podSpec } },
    });
    const selector = ["-l", `batch.kubernetes.io/job-name=${name}`];
    await cluster.kubectl(["wait", "--for=create", "pod", "-n", job.namespace, ...selector, "--timeout=30s"]);
    return metaOf("pod", job.namespace, ...selector);
  };
  const podSpec = {
    ...{ serviceAccountName: "graft-worker", restartPolicy: "Never" },
    containers: [{ name: "worker", image: "localhost/graft-trainer:0" }],
  };

  /** The API server hears of what is gone a moment later, and remembers for ten seconds of its own what it let in before that. */
  const refusedAtLast = (ask: () => Promise<unknown>): Promise<void> =>
    vi.waitFor(
      async () => {
        aheadMs += limits.accessPodTokenMs;
        await expect(ask()).rejects.toMatchObject({
          code: "ACCESS_DENIED",
          message: expect.stringContaining("does not accept the token") as string,
        });
      },
      { timeout: 30_000, interval: 1_000 },
    );

  beforeAll(async () => {
    cluster = await startControlPlane();
    await installCrd(cluster);
    await apply(...objects);
    const names = ["team-a/flowers", "team-a/roses", "team-a/orphan", "team-b/flowers"];
    await apply(
      ...names.map((path) => {
        const [namespace, name] = path.split("/");
        return { apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { namespace, name }, spec };
      }),
    );
    jobs = await Promise.all(names.map((path) => metaOf("graftjob", path.split("/")[0]!, path.split("/")[1]!)));

    const known = jobs.map(({ namespace, name, uid }) => ({
      jobId: uid,
      record: { name, submittedMs: 0, request: { metadata: { namespace }, spec } },
    })) as unknown as KnownJob[];
    const all = { all: known, get: (id: string) => known.find(({ jobId }) => jobId === id) } as unknown as Jobs;
    const resource: JobResource = {
      ...{ apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: {}, spec },
      status: { phase: "PENDING", suspended: false },
    };
    const requests = portWith<JobServicePort>({
      submitJob: async (_id, { metadata }) => ({ ...resource, metadata }),
      getJob: async ({ name }) => ({ ...resource, metadata: { uid: name } }),
      listJobs: async () => ({ jobs: [], nextPageToken: "" }),
      suspendJob: async () => resource,
      cancelJob: async () => resource,
    });
    const work = portWith<WorkServicePort>({
      claimTask: async (worker, _profile, jobId) => (worked.push([worker, jobId]), { kind: "done" }),
      commitResult: async (member) => void worked.push(member),
    });

    // As the coordinator's own service account, so that its rights are tried too.
    const kubeconfig = join(folder, "kubeconfig");
    const own = await tokenOf("graft-system", "coordinator", []);
    writeFileSync(
      kubeconfig,
      readFileSync(cluster.kubeconfig, "utf8").replace(/^users: .*$/m, `users: [{ name: admin, user: { token: ${own} } }]`),
    );
    const access = openKubernetesAccess({ kubeconfig, audience: "graft", clock, onRequest: (what) => asked.push(what) });
    server = await serveGrpc({
      ...{ address: "127.0.0.1:0", access },
      services: [
        jobServiceHandlers((caller) => new AuthorizedJobs({ requests, jobs: all, access }, caller)),
        workServiceHandlers((caller) => new AuthorizedWork({ work, access }, caller)),
      ],
      onUnexpected: (error) => unexpected.push(error),
    });
  }, 120_000);

  afterAll(async () => {
    for (const channel of channels) channel.close();
    await server?.stop(0);
    await cluster?.stop();
    rmSync(folder, { recursive: true });
  });

  test("who may do something with kubectl may do it here, in the same namespaces, and nobody else", async () => {
    for (const [namespace, account] of [
      ["team-a", "editor"],
      ["team-a", "viewer"],
      ["team-b", "editor"],
      ["team-a", "graft-worker"],
    ] as const) {
      const client = jobsAs(await tokenOf(namespace, account));
      const job = { namespace: "team-a", name: "flowers" };
      const asks: Record<string, () => Promise<unknown>> = {
        create: () => client.submitJob({ requestId: randomUUID(), job: { metadata: { namespace: "team-a" }, spec } }, call),
        get: () => client.getJob({ job }, call),
        list: () => client.listJobs({ namespace: "team-a" }, call),
        update: () => client.suspendJob({ job }, call),
        delete: () => client.cancelJob({ job }, call),
      };
      for (const [verb, ask] of Object.entries(asks)) {
        const outcome = await ask().then(
          () => "yes",
          (error: { readonly code: string }) => error.code,
        );
        const user = `system:serviceaccount:${namespace}:${account}`;
        const may = ["auth", "can-i", verb, "graftjobs.graft.dev", "-n", "team-a", "--as", user];
        const byKubectl = await cluster.kubectl(may).catch(() => "no");
        expect([user, verb, outcome]).toEqual([user, verb, byKubectl.trim() === "yes" ? "yes" : "ACCESS_DENIED"]);
      }
    }
  });

  test("denied in another namespace, in words that say what is missing; a name without a namespace is one of the own", async () => {
    const client = jobsAs(await tokenOf("team-a", "editor"));
    expect((await client.getJob({ job: { name: "flowers" } }, call)).job?.metadata?.uid).toBe(jobs[0]!.uid);
    expect((await client.submitJob({ requestId: randomUUID(), job: { spec } }, call)).job?.metadata?.namespace).toBe("team-a");
    await expect(
      client.submitJob({ requestId: randomUUID(), job: { metadata: { namespace: "team-b" }, spec } }, call),
    ).rejects.toMatchObject({
      code: "ACCESS_DENIED",
      message: expect.stringMatching(
        /^user system:serviceaccount:team-a:editor may not create graftjobs\.graft\.dev in namespace team-b; ask its owner for a RoleBinding there to ClusterRole graft-editor/,
      ) as string,
    });
    await expect(client.listJobs({}, call)).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    // By id, or by a name that is there or is not: the same answer.
    const answers = await Promise.all(
      ["flowers", "nothing"].map((name) =>
        client.getJob({ job: { namespace: "team-b", name } }, call).catch(({ code, message }: { code: string; message: string }) => ({
          code,
          message: message.replace(name, "NAME"),
        })),
      ),
    );
    expect(answers[0]).toMatchObject({ code: "ACCESS_DENIED" });
    expect(answers[0]).toEqual(answers[1]);
    await expect(client.getJob({ job: { name: jobs[3]!.uid } }, call)).rejects.toMatchObject({ code: "JOB_NOT_FOUND" });
  });

  test("no token, garbage, another audience, another's signature", async () => {
    const refused = (token: string | undefined, message: RegExp): Promise<void> =>
      expect(getAs(token)).rejects.toMatchObject({ code: "ACCESS_DENIED", message: expect.stringMatching(message) as string });
    const good = await tokenOf("team-a", "editor");
    await getAs(good);
    await refused(undefined, /^the call has no token; .*kubectl create token SERVICE_ACCOUNT --audience graft/);
    await refused("garbage", /not one of Kubernetes/);
    await refused(await tokenOf("team-a", "editor", []), /is for audience .*kubernetes.default.*, not for graft/);
    await refused(await tokenOf("team-a", "editor", ["--audience", "vault"]), /is for audience .*vault.*, not for graft/);
    // What it says of itself is changed; the signature is not: only the API server can tell.
    const [head, payload, signature] = good.split(".") as [string, string, string];
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as Record<string, unknown>;
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    await refused(
      [head, encode({ ...claims, sub: "system:serviceaccount:team-b:editor" }), signature].join("."),
      /does not accept the token/,
    );
    const foreign = await tokenOf("team-a", "editor", ["--audience", "vault"]);
    const [, , other] = foreign.split(".") as [string, string, string];
    await refused([head, encode({ ...claims, aud: ["graft"] }), other].join("."), /does not accept the token/);
  });

  test("an expired token, and one whose service account is gone", async () => {
    // The shortest life that can be asked for is ten minutes: so one is signed with the cluster's own key, as the API server would have an hour ago.
    const token = await tokenOf("team-a", "editor");
    const [head, payload] = token.split(".") as [string, string];
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString("utf8")) as { readonly iat: number; readonly exp: number };
    const key = createPrivateKey(readFileSync(join(dirname(cluster.kubeconfig), "pki/tokens.key")));
    const signed = (secondsAgo: number): string => {
      const moved = { ...claims, iat: claims.iat - secondsAgo, nbf: claims.iat - secondsAgo, exp: claims.exp - secondsAgo };
      const text = `${head}.${Buffer.from(JSON.stringify(moved)).toString("base64url")}`;
      return `${text}.${sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
    };
    await getAs(signed(60));
    await expect(getAs(signed(3_600))).rejects.toMatchObject({
      code: "ACCESS_DENIED",
      message: expect.stringMatching(/does not accept the token \(.*expired/) as string,
    });
    const gone = await tokenOf("team-a", "gone");
    await cluster.kubectl(["delete", "serviceaccount", "gone", "-n", "team-a"]);
    await refusedAtLast(() => getAs(gone));
  });

  test("a worker is a pod of the job's own Jobs, for that job, under its own name, while it lives", async () => {
    const [flowers, roses] = jobs as [Meta, Meta];
    const pod = await startWorkers(flowers);
    const token = await podToken(pod);
    const commit = (client: ReturnType<typeof workAs>, jobId: string, trainer: string): Promise<unknown> =>
      client.commitResult({ jobId, trainer, generation: 1 }, call);
    const denied = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
      expect(promise).rejects.toMatchObject({ code: "ACCESS_DENIED", message: expect.stringMatching(message) as string });

    const before = asked.length;
    await commit(workAs(token), flowers.uid, pod.name);
    expect(asked.slice(before)).toEqual([
      "create TokenReview",
      `get Pod team-a/${pod.name}`,
      "get Job team-a/flowers-trainers",
      "get GraftJob team-a/flowers",
    ]);
    await workAs(token).claimTask({ worker: pod.name, profile }, call);
    expect(worked.splice(0)).toEqual([{ jobId: flowers.uid, trainer: pod.name, generation: 1 }, [pod.name, flowers.uid]]);
    expect(asked).toHaveLength(before + 4);

    await denied(commit(workAs(token), roses.uid, pod.name), /was made for job .*, and asks for job/);
    await denied(commit(workAs(token), flowers.uid, `${pod.name}-2`), /a worker has the name of its pod/);
    const other = await startWorkers(roses);
    await denied(commit(workAs(await podToken(other)), flowers.uid, other.name), /was made for job/);
    await commit(workAs(await podToken(other)), roses.uid, other.name);

    // The labels of a worker, and nobody behind them.
    const metadata = { namespace: "team-a", name: "forged", labels: { "graft.dev/job-uid": flowers.uid, "graft.dev/job": "flowers" } };
    await apply({ apiVersion: "v1", kind: "Pod", metadata, spec: podSpec });
    await denied(commit(workAs(await podToken(await metaOf("pod", "team-a", "forged"))), flowers.uid, "forged"), /is no worker of a job/);
    // A Job with the labels of a worker's, and no GraftJob behind it.
    const orphan = await startWorkers(jobs[2]!, { ownerReferences: [] });
    await denied(commit(workAs(await podToken(orphan)), jobs[2]!.uid, orphan.name), /is no worker of a job/);
    // The service account of a worker, and people, without a pod.
    await denied(commit(workAs(await tokenOf("team-a", "graft-worker")), flowers.uid, pod.name), /this call is for workers/);
    await denied(commit(workAs(await tokenOf("team-a", "editor")), flowers.uid, pod.name), /this call is for workers/);
    const another = await podToken(pod);
    await cluster.kubectl(["delete", "pod", pod.name, "-n", "team-a", "--force"]);
    await refusedAtLast(() => commit(workAs(another), flowers.uid, pod.name));
  });

  test("many calls of one caller are two questions to the API server", async () => {
    const token = await tokenOf("team-a", "viewer");
    const client = jobsAs(token);
    const before = asked.length;
    const job = { namespace: "team-a", name: "flowers" };
    await Promise.all(Array.from({ length: 200 }, () => client.getJob({ job }, call)));
    expect(asked.slice(before)).toEqual(["create TokenReview", "create SubjectAccessReview"]);
  });

  test("a right that is taken away is gone after a while, and one that is given is there soon", async () => {
    const client = jobsAs(await tokenOf("team-a", "viewer"));
    const ask = () => client.getJob({ job: { namespace: "team-a", name: "flowers" } }, call);
    await ask();
    await cluster.kubectl(["delete", "rolebinding", "viewer", "-n", "team-a"]);
    await ask(); // remembered
    await vi.waitFor(async () => {
      aheadMs += limits.accessRightMs;
      await expect(ask()).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    });
    await cluster.kubectl(["create", "rolebinding", "viewer", "-n", "team-a", "--clusterrole=viewer", "--serviceaccount=team-a:viewer"]);
    await vi.waitFor(async () => {
      aheadMs += limits.accessRefusedMs;
      await ask();
    });
  });

  test("the API server away: no answer, and never a yes", async () => {
    const token = await tokenOf("team-a", "editor");
    await getAs(token);
    const fresh = await tokenOf("team-a", "editor");
    await cluster.stop();
    await expect(getAs(fresh)).rejects.toMatchObject({ code: "CLUSTER_UNAVAILABLE" });
    aheadMs += limits.accessTokenMs;
    await expect(getAs(token)).rejects.toMatchObject({ code: "CLUSTER_UNAVAILABLE" });
    await expect(getAs("garbage")).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    expect(unexpected).toEqual([]);
  });
});
