import type { KubernetesObject, V1SubjectAccessReviewSpec } from "@kubernetes/client-node";
import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { ManualClock } from "../../test/support/virtual-clock.js";
import type { Kubernetes } from "../kubernetes/kubernetes.js";
import type { Caller, Pod } from "./access.js";
import { KubernetesAccess } from "./kubernetes.js";

const pod: Pod = { namespace: "team-a", name: "flowers-trainers-x", uid: "pod-1" };
const POD_CLAIMS = { "authentication.kubernetes.io/pod-name": [pod.name], "authentication.kubernetes.io/pod-uid": [pod.uid] };
const client = "system:serviceaccount:team-a:client";

/** A token as the API server makes them; nobody here knows its signature. */
function tokenFor(claims: object = { aud: ["graft"] }): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return [part({ alg: "RS256" }), part(claims), "c2lnbmF0dXJl"].join(".");
}

/** What a TokenReview says. */
interface ReviewStatus {
  readonly authenticated: boolean;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username: string;
    readonly uid: string;
    readonly groups: readonly string[];
    readonly extra: Readonly<Record<string, readonly string[]>>;
  };
  readonly error?: string;
}

const known = (username: string, extra: Record<string, string[]> = {}): ReviewStatus => ({
  authenticated: true,
  audiences: ["graft"],
  user: { username, uid: "u", groups: ["system:authenticated"], extra },
});

interface Cluster {
  readonly review?: () => Promise<ReviewStatus>;
  readonly allows?: (spec: V1SubjectAccessReviewSpec) => boolean;
  /** Objects by `kind namespace/name`. */
  readonly objects?: Readonly<Record<string, KubernetesObject>>;
}

function setup({ review = async () => known(client), allows = () => true, objects = {} }: Cluster = {}) {
  const clock = new ManualClock();
  const asked: string[] = [];
  const read =
    (kind: string) =>
    async ({ namespace, name }: Pod): Promise<KubernetesObject | undefined> =>
      objects[`${kind} ${namespace}/${name}`];
  const kubernetes = {
    request: (what: string, send: () => Promise<unknown>) => {
      asked.push(what);
      return send();
    },
    find: (what: string, send: () => Promise<unknown>) => {
      asked.push(what);
      return send();
    },
    authentication: { createTokenReview: async () => ({ status: await review() }) },
    authorization: {
      createSubjectAccessReview: async ({ body }: { body: { spec: V1SubjectAccessReviewSpec } }) => ({
        status: { allowed: allows(body.spec) },
      }),
    },
    core: { readNamespacedPod: read("Pod") },
    batch: { readNamespacedJob: read("Job") },
    custom: { getNamespacedCustomObject: read("GraftJob") },
  } as unknown as Kubernetes;
  return { access: new KubernetesAccess(kubernetes, { audience: "graft", clock }), clock, asked };
}

const denied = (message: RegExp) => ({ code: "ACCESS_DENIED", message: expect.stringMatching(message) as string });

test("a caller is whom the API server says that it is", async () => {
  const { access } = setup();
  expect(await access.authenticate(tokenFor())).toEqual({
    user: client,
    uid: "u",
    groups: ["system:authenticated"],
    extra: {},
    namespace: "team-a",
    client: true,
    worker: undefined,
  });
  const person = await setup({ review: async () => known("jane") }).access.authenticate(tokenFor());
  expect(person).toMatchObject({ user: "jane", namespace: "default" });
});

test("a worker is a service account's token that is bound to one pod", async () => {
  const callerOf = (status: ReviewStatus): Promise<Caller> => setup({ review: async () => status }).access.authenticate(tokenFor());
  expect((await callerOf(known(client, POD_CLAIMS))).worker).toEqual(pod);
  expect((await callerOf(known("jane", POD_CLAIMS))).worker).toBeUndefined();
  for (const [name, values] of Object.entries(POD_CLAIMS)) {
    expect((await callerOf(known(client, { ...POD_CLAIMS, [name]: [] }))).worker).toBeUndefined();
    expect((await callerOf(known(client, { ...POD_CLAIMS, [name]: [...values, "other"] }))).worker).toBeUndefined();
  }
});

test("what the API server does not accept is refused with its reason, and with what to do", async () => {
  const review = async (): Promise<ReviewStatus> => ({ authenticated: false, error: "[invalid bearer token, token has expired]" });
  const { access, asked } = setup({ review });
  await expect(access.authenticate(tokenFor())).rejects.toMatchObject(
    denied(/token has expired.*kubectl create token .* --audience graft/),
  );
  await expect(access.authenticate(tokenFor())).rejects.toMatchObject(denied(/token has expired/));
  expect(asked).toEqual(["create TokenReview"]);
  // One that knows no audiences means its own; and a user without a name is nobody.
  for (const status of [{ ...known(client), audiences: [] }, { ...known(client), audiences: ["https://kubernetes"] }, known("")])
    await expect(setup({ review: async () => status }).access.authenticate(tokenFor())).rejects.toMatchObject(denied(/no reason given/));
});

test("the API server is not asked about what cannot be a token for here", async () => {
  const { access, asked } = setup();
  await expect(access.authenticate(undefined)).rejects.toMatchObject(denied(/^the call has no token; .*--token-file/));
  for (const text of [
    "",
    "secret",
    "a.b",
    "a.b.c.d",
    `a.${Buffer.from("[").toString("base64url")}.c`,
    `a.${Buffer.from("null").toString("base64url")}.c`,
  ])
    await expect(access.authenticate(text)).rejects.toMatchObject(denied(/not one of Kubernetes/));
  await expect(access.authenticate(tokenFor({ aud: ["https://kubernetes.default.svc"] }))).rejects.toMatchObject(
    denied(/is for audience \["https:\/\/kubernetes.default.svc"\], not for graft/),
  );
  await expect(access.authenticate(tokenFor({ aud: "vault" }))).rejects.toMatchObject(denied(/not for graft/));
  expect(asked).toEqual([]);
});

test("a token is reviewed once for many calls, and anew after a while; one of a pod less often, none after it has expired", async () => {
  const reviewsIn = async (durationMs: number, extra: Record<string, string[]>, exp?: number): Promise<number> => {
    const { access, clock, asked } = setup({ review: async () => known(client, extra) });
    const token = tokenFor({ aud: ["graft"], ...(exp !== undefined && { exp: clock.now() / 1_000 + exp }) });
    await Promise.all([access.authenticate(token), access.authenticate(token)]);
    clock.pass(durationMs - 1);
    await access.authenticate(token);
    const before = asked.length;
    clock.pass(1);
    await access.authenticate(token);
    expect([before, asked.length]).toEqual([1, 2]);
    return asked.length;
  };
  await reviewsIn(limits.accessTokenMs, {});
  await reviewsIn(limits.accessPodTokenMs, POD_CLAIMS);
  await reviewsIn(3_000, {}, 3);
  await reviewsIn(3_000, POD_CLAIMS, 3);
});

test("a right is asked for as the caller, for all jobs of the namespace and then for the one, and remembered", async () => {
  const specs: V1SubjectAccessReviewSpec[] = [];
  const allows = (spec: V1SubjectAccessReviewSpec): boolean => {
    specs.push(spec);
    return spec.resourceAttributes?.namespace === "team-a" || spec.resourceAttributes?.name === "flowers";
  };
  const { access, clock } = setup({ allows });
  const caller = await access.authenticate(tokenFor());
  expect(await access.mayDo(caller, "get", "team-a", "flowers")).toBe(true);
  expect(await access.mayDo(caller, "get", "team-a", "roses")).toBe(true);
  expect(specs).toHaveLength(1);
  expect(specs[0]).toMatchObject({
    user: client,
    uid: "u",
    groups: ["system:authenticated"],
    extra: {},
    resourceAttributes: { group: "graft.dev", resource: "graftjobs", verb: "get", namespace: "team-a", name: "" },
  });
  clock.pass(limits.accessRightMs);
  await access.mayDo(caller, "get", "team-a");
  expect(specs).toHaveLength(2);
  // Where only one job is allowed.
  expect(await access.mayDo(caller, "get", "team-b", "flowers")).toBe(true);
  expect(await access.mayDo(caller, "get", "team-b", "roses")).toBe(false);
  expect(await access.mayDo(caller, "get", "team-b")).toBe(false);
  expect(specs.slice(2).map(({ resourceAttributes }) => resourceAttributes?.name)).toEqual(["", "flowers", "roses"]);
  // A no is asked again soon, and nobody has what another one has.
  clock.pass(limits.accessRefusedMs);
  await access.mayDo(caller, "get", "team-b");
  await access.mayDo({ ...caller, groups: ["system:masters"] }, "get", "team-b");
  await access.mayDo(caller, "update", "team-b");
  expect(specs).toHaveLength(8);
});

const owner = (apiVersion: string, kind: string, name: string, uid: string, controller = true) => ({
  apiVersion,
  kind,
  name,
  uid,
  controller,
});
const labels = { "graft.dev/job-uid": "job-1" };
const chain = {
  pod: { ...pod, labels, ownerReferences: [owner("batch/v1", "Job", "flowers-trainers", "batch-1")] },
  job: { name: "flowers-trainers", uid: "batch-1", labels, ownerReferences: [owner("graft.dev/v1alpha1", "GraftJob", "flowers", "job-1")] },
  graftJob: { name: "flowers", uid: "job-1" },
};
const objectsOf = (metadata: Partial<Record<keyof typeof chain, object>> = {}) => ({
  "Pod team-a/flowers-trainers-x": { metadata: { ...chain.pod, ...metadata.pod } },
  "Job team-a/flowers-trainers": { metadata: { ...chain.job, ...metadata.job } },
  "GraftJob team-a/flowers": { metadata: { ...chain.graftJob, ...metadata.graftJob } },
});

test("the job of a pod is that of the GraftJob that owns the batch Job that owns the pod; it is found once for the pod's life", async () => {
  const { access, clock, asked } = setup({ objects: objectsOf() });
  expect(await Promise.all([access.jobOfPod(pod), access.jobOfPod(pod)])).toEqual(["job-1", "job-1"]);
  expect(asked).toEqual(["get Pod team-a/flowers-trainers-x", "get Job team-a/flowers-trainers", "get GraftJob team-a/flowers"]);
  clock.pass(1e9);
  await access.jobOfPod(pod);
  expect(asked).toHaveLength(3);
});

test.each<[string, Parameters<typeof objectsOf>[0]]>([
  ["another pod has the name by now", { pod: { uid: "pod-2" } }],
  ["nobody owns it, whatever its labels", { pod: { ownerReferences: [] } }],
  ["who owns it does not control it", { pod: { ownerReferences: [owner("batch/v1", "Job", "flowers-trainers", "batch-1", false)] } }],
  ["its owner is no Job", { pod: { ownerReferences: [owner("apps/v1", "ReplicaSet", "flowers-trainers", "batch-1")] } }],
  ["its owner is a Job that is gone", { pod: { ownerReferences: [owner("batch/v1", "Job", "flowers-trainers", "batch-0")] } }],
  ["its owner is a Job that never was", { pod: { ownerReferences: [owner("batch/v1", "Job", "roses-trainers", "batch-1")] } }],
  ["its label names another job", { pod: { labels: { "graft.dev/job-uid": "job-2" } } }],
  ["it has no label", { pod: { labels: {} } }],
  ["nobody owns the Job", { job: { ownerReferences: [] } }],
  ["a label of the Job names another job", { job: { labels: { "graft.dev/job-uid": "job-2" } } }],
  ["the Job is owned by a GraftJob of another namespace", { graftJob: { uid: "job-2" } }],
])("a pod is no job's where %s", async (_why, metadata) => {
  const { access, clock, asked } = setup({ objects: objectsOf(metadata) });
  expect(await access.jobOfPod(pod)).toBeUndefined();
  const once = asked.length;
  await access.jobOfPod(pod);
  expect(asked).toHaveLength(once);
  clock.pass(limits.accessRefusedMs);
  await access.jobOfPod(pod);
  expect(asked.length).toBeGreaterThan(once);
});

test("with the API server away there is no answer, and never a yes", async () => {
  let away = true;
  const { access } = setup({
    review: async () => {
      if (away) throw new CodedError("CLUSTER_UNAVAILABLE", "Kubernetes: create TokenReview: connect ECONNREFUSED");
      return known(client);
    },
  });
  await expect(access.authenticate(tokenFor())).rejects.toMatchObject({ code: "CLUSTER_UNAVAILABLE" });
  away = false;
  expect(await access.authenticate(tokenFor())).toMatchObject({ user: client });
});

test("an API server that never answers is waited for only so long, and by only so many", async () => {
  const { access, clock, asked } = setup({ review: () => new Promise(() => undefined) });
  const waiting = Array.from({ length: limits.accessReviewsPending }, (_, index) =>
    expect(access.authenticate(tokenFor({ aud: ["graft"], index }))).rejects.toMatchObject({
      code: "CLUSTER_UNAVAILABLE",
      message: expect.stringContaining("no answer within 15 s") as string,
    }),
  );
  await expect(access.authenticate(tokenFor())).rejects.toMatchObject({
    code: "CLUSTER_UNAVAILABLE",
    message: expect.stringContaining("wait for an answer already") as string,
  });
  expect(asked).toHaveLength(limits.accessReviewsPending);
  clock.pass(limits.accessReviewMs);
  await Promise.all(waiting);
  const again = access.authenticate(tokenFor());
  expect(asked).toHaveLength(limits.accessReviewsPending + 1);
  clock.pass(limits.accessReviewMs);
  await expect(again).rejects.toMatchObject({ code: "CLUSTER_UNAVAILABLE" });
});
