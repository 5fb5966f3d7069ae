import { randomUUID } from "node:crypto";
import { create, fromBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { afterEach, expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { Problem } from "../../domain/job/problems.js";
import { specInvalid } from "../../domain/job/problems.js";
import type { JobResource } from "../../domain/job/resource.js";
import { limits } from "../../domain/limits.js";
import { GraftJobSchema, JobSpecSchema } from "../../proto/gen/graft/v1/job_pb.js";
import { JobService as JobServiceSchema } from "../../proto/gen/graft/v1/job_service_pb.js";
import { StatusSchema } from "../../proto/gen/third_party/google/rpc/status_pb.js";
import { deferred } from "../../test/support/deferred.js";
import { virtualClock } from "../../test/support/virtual-clock.js";
import { everyone } from "../access/everyone.js";
import { grpcClient, openChannel } from "../grpc/client.js";
import { statusOf } from "../grpc/errors.js";
import { serveGrpc, type RunningServer } from "../grpc/server.js";
import { grpcJobService, type JobServiceOptions } from "./grpc-client.js";
import { jobServiceHandlers } from "./grpc-server.js";
import type { JobService } from "./job-service.js";

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

/** Every field that a status may have. */
const resource: JobResource = {
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: {
    name: "flowers",
    namespace: "team-a",
    uid: "0b0e3c4e-0000-4000-8000-000000000001",
    labels: { "kueue.x-k8s.io/queue-name": "gpu" },
    annotations: { note: "ü" },
    generation: 2,
    resourceVersion: "17",
    creationTimestamp: "2026-01-31T12:00:00Z",
  },
  spec: {
    dataset: { source: "s3://pictures/flowers/", split: { trainPercent: 80, seed: 0 }, maxRejectedPercent: 0 },
    head: { layers: [{ dropout: { rate: 0.2 } }, { dense: { units: 128, activation: "RELU" } }], initializer: { zeros: {} } },
    training: {
      epochs: 0.5,
      optimizer: { sgd: { learningRate: 0.01, nesterov: false } },
      sampling: "SHUFFLED",
      weightDecayExempt: ["*/bias"],
    },
    suspend: false,
  },
  status: {
    phase: "TRAINING",
    suspended: false,
    observedGeneration: 2,
    conditions: [
      {
        type: "Complete",
        status: "False",
        reason: "Training",
        message: "step 3",
        observedGeneration: 2,
        lastTransitionTime: "2026-01-31T12:00:01.500Z",
      },
    ],
    progress: {
      pictures: 10,
      extracted: 9,
      cached: 0,
      rejected: 1,
      imagesPerSecond: 12.5,
      step: 3,
      steps: 100,
      millisecondsPerStep: 1.25,
      secondsLeft: 0,
      trainers: 2,
      trainersReason: "min",
      generation: 1,
      tasks: 4,
      tasksCommitted: 4,
      extractors: 0,
      checkpointStep: 2,
    },
    evaluation: { step: 2, epoch: 0.1, trainLoss: 1, trainAccuracy: 0.5, validationLoss: 0, validationAccuracy: 1, validationCount: 3 },
    failure: { code: "ACCURACY_TOO_LOW", message: "0.5" },
    result: { location: "s3://results/1/", weightsSha256: "ab".repeat(32), testAccuracy: 0.875, testCount: 8 },
    startTime: "2026-01-31T12:00:00Z",
    completionTime: "2026-01-31T13:00:00Z",
  },
};

const unused = async (): Promise<never> => {
  throw new Error("not expected in this test");
};
const nothing: JobService = {
  submitJob: unused,
  planJob: unused,
  getJob: async () => resource,
  listJobs: unused,
  watchJob: async function* () {
    await unused();
  },
  suspendJob: unused,
  resumeJob: unused,
  cancelJob: unused,
  getResult: unused,
  readResultFile: async function* () {
    await unused();
  },
  explainJob: unused,
  listJobEvents: unused,
};

async function setup(jobs: Partial<JobService> = {}, options: Partial<JobServiceOptions> = {}) {
  const unexpected: unknown[] = [];
  const serve = (port = 0): Promise<RunningServer> =>
    serveGrpc({
      address: `127.0.0.1:${port}`,
      access: everyone,
      services: [jobServiceHandlers(() => ({ ...nothing, ...jobs }))],
      onUnexpected: (error) => unexpected.push(error),
    });
  const server = await serve();
  const channel = openChannel({ address: `127.0.0.1:${server.port}`, tls: "plaintext" });
  releases.push(
    () => server.stop(0),
    () => channel.close(),
  );
  const client = grpcJobService(channel, { clock: virtualClock(), random: () => 0, ...options });
  return { client, raw: grpcClient(JobServiceSchema, channel), server, serve, unexpected };
}

const never = new AbortController().signal;
const call = { deadlineMs: 10_000 };
/** A value of an enum that a newer contract may have. */
const unknownEnum = 77 as never;

test("every call arrives as it was made, and its answer comes back", async () => {
  const calls: unknown[][] = [];
  const noting =
    <T>(name: string, answer: T) =>
    async (...args: unknown[]): Promise<T> => {
      calls.push([name, ...args]);
      return answer;
    };
  const result = {
    summary: resource.status.result!,
    metricsJson: "{}",
    files: [
      { path: "tfjs/model.json", bytes: 3_000_000_000, sha256: "cd".repeat(32), url: "https://store/x" },
      { path: "report.html", bytes: 0, sha256: "ef".repeat(32), url: undefined },
    ],
  };
  const reasons = [
    { subject: "job", message: "waits", depth: 0 },
    { subject: "task 3", message: "is under way", depth: 1 },
  ];
  const events = [{ timeMs: 1_767_225_600_123, kind: "phase", message: "TRAINING" }];
  const { client, unexpected } = await setup({
    submitJob: noting("submitJob", resource),
    planJob: noting("planJob", { text: "t", json: "{}" }),
    getJob: noting("getJob", resource),
    listJobs: noting("listJobs", { jobs: [resource, resource], nextPageToken: "n" }),
    suspendJob: noting("suspendJob", resource),
    resumeJob: noting("resumeJob", resource),
    cancelJob: noting("cancelJob", resource),
    getResult: noting("getResult", result),
    explainJob: noting("explainJob", reasons),
    listJobEvents: noting("listJobEvents", { events, nextPageToken: "m" }),
  });
  const id = randomUUID();
  const { metadata, spec } = resource;
  const reference = { name: "flowers", namespace: "team-a" };

  expect(await client.submitJob(id, { metadata, spec })).toEqual(resource);
  expect(await client.planJob({ metadata: {}, spec: { dataset: { source: "x" } } }, true)).toEqual({ text: "t", json: "{}" });
  expect(await client.getJob({ name: "flowers" })).toEqual(resource);
  expect(await client.listJobs({ namespace: "team-a", pageSize: 2, pageToken: "p", phases: ["PENDING", "TRAINING"] })).toEqual({
    jobs: [resource, resource],
    nextPageToken: "n",
  });
  await client.listJobs({});
  expect(await client.suspendJob(reference)).toEqual(resource);
  expect(await client.resumeJob(reference)).toEqual(resource);
  expect(await client.cancelJob(reference)).toEqual(resource);
  expect(await client.getResult(reference)).toEqual(result);
  expect(await client.explainJob(reference)).toEqual(reasons);
  expect(await client.listJobEvents(reference, { pageSize: 1_000 })).toEqual({ events, nextPageToken: "m" });

  expect(calls).toEqual([
    ["submitJob", id, { metadata, spec }],
    ["planJob", { metadata: {}, spec: { dataset: { source: "x" } } }, true],
    ["getJob", { name: "flowers" }],
    ["listJobs", { namespace: "team-a", pageSize: 2, pageToken: "p", phases: ["PENDING", "TRAINING"] }],
    ["listJobs", { phases: [] }],
    ["suspendJob", reference],
    ["resumeJob", reference],
    ["cancelJob", reference],
    ["getResult", reference],
    ["explainJob", reference],
    ["listJobEvents", reference, { pageSize: 1_000 }],
  ]);
  expect(unexpected).toEqual([]);
});

test("all problems of a spec come back, each with its field", async () => {
  const problems: Problem[] = Array.from({ length: 10 }, (_, index) => ({
    path: `training.field${index}`,
    message: `must be over ${index}; found ü`,
  }));
  const { client } = await setup({
    submitJob: async () => {
      throw specInvalid("flowers", problems);
    },
  });
  const error = await client.submitJob(randomUUID(), { metadata: {}, spec: {} }).catch((cause: unknown) => cause);
  expect(error).toEqual(specInvalid("flowers", problems));
  expect((error as CodedError).details).toEqual({ problems });
});

test("more problems than a header holds are counted", async () => {
  const problems: Problem[] = Array.from({ length: 100 }, (_, index) => ({ path: `f${index}`, message: "x".repeat(200) }));
  const { client } = await setup({
    submitJob: async () => {
      throw specInvalid("flowers", problems);
    },
  });
  const error = await client.submitJob(randomUUID(), { metadata: {}, spec: {} }).catch((cause: unknown) => cause);
  const found = (error as CodedError).details["problems"] as Problem[];
  expect(found.length).toBeGreaterThan(10);
  expect(found.at(-1)).toEqual({ path: "", message: `and ${100 - (found.length - 1)} more` });
});

test("a long message comes back; what other languages read is the same in the call and in its details", async () => {
  const long = `backbone "${"é".repeat(300)}" is not in the store`;
  const error = new CodedError("BACKBONE_UNKNOWN", long);
  const { client } = await setup({
    getJob: async () => {
      throw error;
    },
  });
  await expect(client.getJob({ name: "x" })).rejects.toEqual(error);
  const { details, metadata } = statusOf(error);
  const [bytes] = metadata.get("grpc-status-details-bin");
  expect(fromBinary(StatusSchema, bytes as Buffer).message).toBe(details);
  expect(encodeURI(details).length).toBeLessThanOrEqual(limits.grpcErrorMessageBytes);
});

test("a job whose shape is wrong is refused with every problem, before anybody looks at it", async () => {
  const { raw } = await setup();
  const requestId = randomUUID();
  const spec = { training: { labelSmoothing: NaN }, backbone: {}, deletionPolicy: unknownEnum };
  await expect(raw.submitJob({ requestId, job: { kind: "Job", apiVersion: "v0", spec } }, call)).rejects.toMatchObject({
    code: "SPEC_INVALID",
    message:
      'job: 4 problems\n  spec.training.labelSmoothing: must be a number, found "NaN"\n  spec.deletionPolicy: must be one of RETAIN, DELETE; found 77\n' +
      '  apiVersion: must be graft.dev/v1alpha1, found "v0"\n  kind: must be GraftJob, found "Job"',
  });
  await expect(raw.submitJob({ requestId }, call)).rejects.toMatchObject({ code: "SPEC_INVALID" });
  await expect(raw.planJob({ job: {} }, call)).rejects.toMatchObject({
    message: "job: 1 problem\n  spec: is missing; a job needs at least spec.dataset.source",
  });
});

test("a field of a newer contract is refused, not left out", async () => {
  const { raw } = await setup();
  const spec = create(JobSpecSchema, { dataset: { source: "x" }, head: { layers: [{ kind: { case: "dense", value: { units: 3 } } }] } });
  const dense = spec.head!.layers[0]!.kind.value!;
  dense.$unknown = [{ no: 99, wireType: WireType.Varint, data: Uint8Array.from([1]) }];
  await expect(raw.planJob({ job: create(GraftJobSchema, { spec }) }, call)).rejects.toMatchObject({
    code: "SPEC_INVALID",
    message: expect.stringContaining("spec.head.layers.0.kind: holds a field that this server does not know") as string,
  });
});

test("requests that make no sense", async () => {
  const { raw, client } = await setup();
  const wrong = { code: "REQUEST_INVALID" };
  await expect(raw.submitJob({ requestId: "7", job: {} }, call)).rejects.toMatchObject({
    ...wrong,
    message: 'SubmitJob: request_id must be a UUID, found "7"',
  });
  await expect(raw.submitJob({ job: {} }, call)).rejects.toMatchObject(wrong);
  await expect(raw.getJob({}, call)).rejects.toMatchObject({ ...wrong, message: "GetJob: job must be there, and is absent" });
  await expect(client.getJob({ name: "" })).rejects.toMatchObject(wrong);
  await expect(client.listJobs({ pageSize: 0 })).rejects.toMatchObject(wrong);
  await expect(client.listJobs({ pageSize: 1_001 })).rejects.toMatchObject(wrong);
  await expect(raw.listJobs({ phases: [unknownEnum] }, call)).rejects.toMatchObject(wrong);
  await expect(raw.watchJob({}, call)[Symbol.asyncIterator]().next()).rejects.toMatchObject(wrong);
});

const at = (resourceVersion: string): JobResource => ({ ...resource, metadata: { ...resource.metadata, resourceVersion } });

test("a watch gives each state and ends after the last", async () => {
  const { client } = await setup({
    watchJob: async function* (job, seen) {
      expect([job, seen]).toEqual([{ name: "flowers" }, "16"]);
      yield at("17");
      yield at("18");
    },
  });
  const versions: unknown[] = [];
  for await (const { metadata } of client.watchJob({ name: "flowers" }, "16", never)) versions.push(metadata.resourceVersion);
  expect(versions).toEqual(["17", "18"]);
});

test("a watch that is given up ends at the server too", async () => {
  const ended = deferred();
  const stop = new AbortController();
  const { client } = await setup({
    watchJob: async function* (_job, _seen, signal) {
      yield at("1");
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      ended.resolve();
    },
  });
  const states = client.watchJob({ name: "flowers" }, undefined, stop.signal)[Symbol.asyncIterator]();
  await states.next();
  stop.abort(new Error("enough"));
  await expect(states.next()).rejects.toThrow("enough");
  await ended.promise;
});

test("a watch that its reader leaves ends at the server too", async () => {
  const ended = deferred();
  const { client } = await setup({
    watchJob: async function* (_job, _seen, signal) {
      signal.addEventListener("abort", () => ended.resolve());
      for (let version = 0; !signal.aborted; version++) yield at(String(version));
    },
  });
  for await (const _ of client.watchJob({ name: "flowers" }, undefined, never)) break;
  await ended.promise;
});

test("a watch goes on where it was when the server comes back", async () => {
  let serverBack: Promise<RunningServer> | undefined;
  const clock = virtualClock(() => (serverBack ??= serve(server.port)).then(() => undefined));
  const opened: unknown[] = [];
  const { client, server, serve } = await setup(
    {
      watchJob: async function* (_job, seen, signal) {
        opened.push(seen);
        yield at(opened.length === 1 ? "5" : "9");
        if (opened.length === 1) await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
    { clock },
  );
  const states = client.watchJob({ name: "flowers" }, undefined, never)[Symbol.asyncIterator]();
  expect((await states.next()).value).toEqual(at("5"));
  const next = states.next();
  await server.stop(1_000);
  expect(await next).toEqual({ done: false, value: at("9") });
  expect(await states.next()).toEqual({ done: true, value: undefined });
  expect(opened).toEqual([undefined, "5"]);
  releases.push(async () => (await serverBack)?.stop(0));
});

async function gather(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const gathered: Uint8Array[] = [];
  for await (const chunk of chunks) gathered.push(chunk);
  return Buffer.concat(gathered).toString();
}

test("a file of a result comes in pieces, from where its reader wants it", async () => {
  const asked: unknown[] = [];
  const { client, raw, unexpected } = await setup({
    readResultFile: async function* (job, path, offset) {
      asked.push([job, path, offset]);
      yield Buffer.from("ab").subarray(offset);
      yield Buffer.from("cd");
    },
  });
  expect(await gather(client.readResultFile({ name: "flowers" }, "tfjs/model.json", 1, never))).toBe("bcd");
  expect(asked).toEqual([[{ name: "flowers" }, "tfjs/model.json", 1]]);
  const wrong = { code: "REQUEST_INVALID" };
  const job = { name: "flowers" };
  await expect(raw.readResultFile({ job }, call)[Symbol.asyncIterator]().next()).rejects.toMatchObject(wrong);
  await expect(raw.readResultFile({ job, path: "x", offset: -1n }, call)[Symbol.asyncIterator]().next()).rejects.toMatchObject(wrong);
  expect(unexpected).toEqual([]);
});

test("a file of a result goes on where it was when its stream is cut", async () => {
  const offsets: number[] = [];
  const { client } = await setup({
    readResultFile: async function* (_job, _path, offset) {
      offsets.push(offset);
      if (offsets.length === 2) throw new CodedError("STORE_UNAVAILABLE", "not just now");
      yield Buffer.from("abcdef").subarray(offset, offset + 4);
      if (offsets.length === 1) throw new CodedError("STORE_UNAVAILABLE", "not just now");
    },
  });
  expect(await gather(client.readResultFile({ name: "flowers" }, "labels.txt", 0, never))).toBe("abcdef");
  expect(offsets).toEqual([0, 4, 4]);
  const missing = await setup({
    readResultFile: async function* () {
      throw new CodedError("JOB_NOT_COMPLETE", "job flowers is Training: it has no result yet");
    },
  });
  await expect(gather(missing.client.readResultFile({ name: "flowers" }, "labels.txt", 0, never))).rejects.toMatchObject({
    code: "JOB_NOT_COMPLETE",
  });
});

test("a watch of an unknown job, or with nobody there, fails at once", async () => {
  const missing = await setup({
    getJob: async () => {
      throw new CodedError("JOB_NOT_FOUND", "job x: there is none");
    },
  });
  const first = missing.client.watchJob({ name: "x" }, undefined, never)[Symbol.asyncIterator]().next();
  await expect(first).rejects.toMatchObject({ code: "JOB_NOT_FOUND", message: "job x: there is none" });
  const { client, server } = await setup();
  await server.stop(0);
  await expect(client.watchJob({ name: "x" }, undefined, never)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: "SERVER_UNAVAILABLE",
  });
});
