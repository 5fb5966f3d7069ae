import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { JobResource } from "../../domain/job/resource.js";
import type { Access, Caller, Verb } from "../../platform/access/access.js";
import { everyone } from "../../platform/access/everyone.js";
import type { JobReference, JobService } from "../../platform/job-service/job-service.js";
import { AuthorizedJobs } from "./authorized-jobs.js";
import { type JobRecords, JobRequests } from "./job-requests.js";
import type { Jobs, KnownJob } from "./jobs.js";

const never = new AbortController().signal;
const jane: Caller = { user: "jane", uid: "", groups: [], extra: {}, namespace: "team-a", client: true, worker: undefined };

const known = (jobId: string, name: string, namespace: string | undefined, submittedMs = 0): KnownJob =>
  ({
    jobId,
    record: { name, submittedMs, request: { metadata: namespace === undefined ? {} : { namespace }, spec: {} } },
  }) as unknown as KnownJob;

/** Two teams, each with a job of the same name; one more of the other team. */
const teams = [known("uid-a", "flowers", "team-a", 1), known("uid-b", "flowers", "team-b", 2), known("uid-c", "roses", "team-b", 3)];

/** `rights`: `verb namespace` or `verb namespace/name`. */
function setup(rights: readonly string[], { caller = jane, all = teams }: { caller?: Caller; all?: readonly KnownJob[] } = {}) {
  const calls: [string, ...unknown[]][] = [];
  const jobs = { all, get: (id: string) => all.find(({ jobId }) => jobId === id) } as unknown as Jobs;
  const access: Access = {
    ...everyone,
    mayDo: async (_caller, verb: Verb, namespace, name) =>
      rights.includes(`${verb} ${namespace}`) || (name !== undefined && rights.includes(`${verb} ${namespace}/${name}`)),
  };
  const resource = (reference: { readonly namespace?: string | undefined }): JobResource =>
    ({ metadata: { namespace: reference.namespace } }) as unknown as JobResource;
  const note =
    (name: string) =>
    async (...args: readonly unknown[]) => {
      calls.push([name, ...args]);
      return resource(args[0] ?? {});
    };
  const stream = (name: string) =>
    async function* (...args: readonly unknown[]) {
      calls.push([name, args[0]]);
      yield resource(args[0] as JobReference);
    };
  const requests = {
    ...Object.fromEntries(
      ["getJob", "suspendJob", "resumeJob", "cancelJob", "getResult", "explainJob", "listJobEvents", "listJobs"].map((name) => [
        name,
        note(name),
      ]),
    ),
    submitJob: async (id: string, job: { readonly metadata: { readonly namespace?: string } }) => {
      calls.push(["submitJob", id, job]);
      return resource(job.metadata);
    },
    planJob: note("planJob"),
    watchJob: stream("watchJob"),
    readResultFile: stream("readResultFile"),
  } as unknown as JobService;
  return { jobs: new AuthorizedJobs({ requests, jobs, access }, caller), calls };
}

const refusal = (promise: Promise<unknown>): Promise<CodedError> =>
  promise.then(
    () => {
      throw new Error("was not refused");
    },
    (error: unknown) => error as CodedError,
  );

/** Every call about one job, with the right that it needs. */
const callsOfOne: readonly (readonly [keyof JobService, Verb, (jobs: JobService, job: JobReference) => Promise<unknown>])[] = [
  ["getJob", "get", (jobs, job) => jobs.getJob(job)],
  ["watchJob", "get", (jobs, job) => jobs.watchJob(job, undefined, never)[Symbol.asyncIterator]().next()],
  ["explainJob", "get", (jobs, job) => jobs.explainJob(job)],
  ["listJobEvents", "get", (jobs, job) => jobs.listJobEvents(job, {})],
  ["getResult", "get", (jobs, job) => jobs.getResult(job)],
  ["readResultFile", "get", (jobs, job) => jobs.readResultFile(job, "labels.txt", 0, never)[Symbol.asyncIterator]().next()],
  ["suspendJob", "update", (jobs, job) => jobs.suspendJob(job)],
  ["resumeJob", "update", (jobs, job) => jobs.resumeJob(job)],
  ["cancelJob", "delete", (jobs, job) => jobs.cancelJob(job)],
];

test.each(callsOfOne)("%s needs the right to %s, in the namespace of the job", async (name, verb, ask) => {
  const allowed = setup([`${verb} team-a`]);
  await ask(allowed.jobs, { name: "flowers" });
  await ask(allowed.jobs, { name: "uid-a" });
  await ask(allowed.jobs, { namespace: "team-a", name: "flowers" });
  const own = { namespace: "team-a", name: "uid-a" };
  expect(allowed.calls.map(([called, job]) => [called, job])).toEqual([own, own, own].map((job) => [name, job]));
  const others = (["get", "list", "create", "update", "delete"] as const).filter((other) => other !== verb);
  const { jobs, calls } = setup([...others.map((other) => `${other} team-a`), `${verb} team-b`]);
  expect(await refusal(ask(jobs, { name: "flowers" }))).toMatchObject({
    code: "ACCESS_DENIED",
    message: expect.stringContaining(`user jane may not ${verb} graftjobs.graft.dev "flowers" in namespace team-a; ask`) as string,
  });
  expect(calls).toEqual([]);
});

test("jobs of two namespaces may have one name: without a namespace the caller's own is meant", async () => {
  const { jobs, calls } = setup(["get team-a", "get team-b"]);
  await jobs.getJob({ name: "flowers" });
  await jobs.getJob({ namespace: "team-b", name: "flowers" });
  await jobs.getJob({ name: "uid-b" });
  expect(calls.map(([, job]) => job)).toEqual([
    { namespace: "team-a", name: "uid-a" },
    { namespace: "team-b", name: "uid-b" },
    { namespace: "team-b", name: "uid-b" },
  ]);
  // By name only there, and an id does not lead out of a namespace that was named.
  await expect(jobs.getJob({ name: "roses" })).rejects.toMatchObject({ code: "JOB_NOT_FOUND" });
  await expect(jobs.getJob({ namespace: "team-a", name: "uid-b" })).rejects.toMatchObject({ code: "JOB_NOT_FOUND" });
});

test("who may not read a job is told the same whether it is there or not", async () => {
  const answers = async (rights: readonly string[], reference: JobReference): Promise<unknown[]> =>
    Promise.all(
      [teams, []].map(async (all) => {
        const { code, message, details } = await refusal(setup(rights, { all }).jobs.getJob(reference));
        return { code, message, details };
      }),
    );
  for (const reference of [{ name: "uid-b" }, { namespace: "team-b", name: "flowers" }, { namespace: "team-b", name: "uid-b" }])
    for (const rights of [[], ["get team-a"], ["get team-a", "get team-b/roses"]]) {
      const [there, absent] = await answers(rights, reference);
      expect(there).toEqual(absent);
    }
  expect(await answers(["get team-a"], { name: "uid-b" })).toMatchObject([{ code: "JOB_NOT_FOUND" }, { code: "JOB_NOT_FOUND" }]);
  expect(await answers([], { namespace: "team-b", name: "flowers" })).toMatchObject([{ code: "ACCESS_DENIED" }, { code: "ACCESS_DENIED" }]);
});

test("a right may be for one job", async () => {
  const { jobs } = setup(["get team-b/roses"]);
  await jobs.getJob({ namespace: "team-b", name: "roses" });
  await jobs.getJob({ name: "uid-c" });
  await expect(jobs.getJob({ namespace: "team-b", name: "flowers" })).rejects.toMatchObject({ code: "ACCESS_DENIED" });
});

test("a job is made, and planned, in the namespace that it names, else in the caller's", async () => {
  const { jobs, calls } = setup(["create team-a"]);
  const spec = { dataset: { source: "s3://pictures/" } };
  for (const metadata of [{ name: "x" }, { name: "x", namespace: "" }, { name: "x", namespace: "team-a" }]) {
    await jobs.submitJob("1", { metadata, spec });
    await jobs.planJob({ metadata, spec }, false);
  }
  const placed = { metadata: { name: "x", namespace: "team-a" }, spec };
  const pair = [
    ["submitJob", "1", placed],
    ["planJob", placed, false],
  ];
  expect(calls.splice(0)).toEqual([...pair, ...pair, ...pair]);
  const elsewhere = { metadata: { namespace: "team-b" }, spec };
  for (const asked of [jobs.submitJob("2", elsewhere), jobs.planJob(elsewhere, true)])
    expect(await refusal(asked)).toMatchObject({
      code: "ACCESS_DENIED",
      message: expect.stringMatching(/^user jane may not create graftjobs.graft.dev in namespace team-b; .*graft-editor/) as string,
    });
  expect(calls).toEqual([]);
});

test("a list is of one namespace, or of all with the right for all", async () => {
  const { jobs, calls } = setup(["list team-a"]);
  await jobs.listJobs({ namespace: "team-a", pageSize: 7 });
  expect(calls.splice(0)).toEqual([["listJobs", { namespace: "team-a", pageSize: 7 }]]);
  await expect(jobs.listJobs({ namespace: "team-b" })).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  expect(await refusal(jobs.listJobs({}))).toMatchObject({
    code: "ACCESS_DENIED",
    message: expect.stringMatching(/in all namespaces; name one namespace, or ask for a ClusterRoleBinding/) as string,
  });
  expect(calls).toEqual([]);
  await setup(["list "]).jobs.listJobs({});
});

test("the list of one namespace holds no job of another", async () => {
  const jobs = {
    all: teams,
    resource: ({ jobId, record }: KnownJob) => ({ metadata: { ...record.request?.metadata, uid: jobId }, status: { phase: "PENDING" } }),
  } as unknown as Jobs;
  const requests = new JobRequests({
    jobs,
    records: {} as JobRecords,
    plan: async () => ({ text: "", json: "" }),
    urlOf: async () => undefined,
  });
  const uids = async (namespace?: string): Promise<unknown> =>
    (await requests.listJobs(namespace === undefined ? {} : { namespace })).jobs.map(({ metadata }) => metadata.uid);
  expect(await uids("team-a")).toEqual(["uid-a"]);
  expect(await uids("team-b")).toEqual(["uid-c", "uid-b"]);
  expect(await uids()).toHaveLength(3);
});

test("who is not of Kubernetes asks as before: nothing is filled in, nothing looked up", async () => {
  const { jobs, calls } = setup(["get ", "create "], { caller: { ...jane, namespace: undefined } });
  const request = { metadata: { name: "x" }, spec: {} };
  await jobs.getJob({ name: "flowers" });
  await jobs.getJob({ namespace: "team-b", name: "flowers" });
  await jobs.submitJob("1", request);
  expect(calls).toEqual([
    ["getJob", { name: "flowers" }],
    ["getJob", { namespace: "team-b", name: "flowers" }],
    ["submitJob", "1", request],
  ]);
  await expect(jobs.cancelJob({ name: "flowers" })).rejects.toMatchObject({ code: "ACCESS_DENIED" });
});

test("a job without a namespace is nobody's on Kubernetes", async () => {
  const all = [known("uid-1", "flowers", undefined)];
  for (const name of ["flowers", "uid-1"])
    await expect(setup(["get team-a", "get "], { all }).jobs.getJob({ name })).rejects.toMatchObject({ code: "JOB_NOT_FOUND" });
});

test("where the answer is not to be had, nothing is done", async () => {
  const { calls } = setup([]);
  const access: Access = {
    ...everyone,
    mayDo: async () => {
      throw new CodedError("CLUSTER_UNAVAILABLE", "away");
    },
  };
  const jobs = new AuthorizedJobs(
    { requests: {} as JobService, jobs: { all: teams, get: () => teams[0] } as unknown as Jobs, access },
    jane,
  );
  await expect(jobs.getJob({ name: "uid-a" })).rejects.toMatchObject({ code: "CLUSTER_UNAVAILABLE" });
  await expect(jobs.listJobs({})).rejects.toMatchObject({ code: "CLUSTER_UNAVAILABLE" });
  expect(calls).toEqual([]);
});
