import { afterEach, expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import { deferred } from "../../test/support/deferred.js";
import { virtualClock } from "../../test/support/virtual-clock.js";
import { everyone } from "../access/everyone.js";
import { openChannel } from "../grpc/client.js";
import { serveGrpc, type RunningServer } from "../grpc/server.js";
import { grpcWorkService, type WorkServiceOptions } from "./grpc-client.js";
import { workServiceHandlers } from "./grpc-server.js";
import type { Joined, LeasedTask, Member, TaskClaim, WorkService } from "./work-service.js";

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

const profile: NumericsProfile = {
  engine: "onnx",
  engineVersion: "1.30.0",
  device: "cpu",
  instructionSet: "avx512",
  threads: 2,
  batch: 8,
  decoder: "sharp 0.35.5",
};
const task: LeasedTask = { jobId: "job-1", task: 7, lease: "lease-1", worker: "extractor-1" };
const member: Member = { jobId: "job-1", trainer: "trainer-1", generation: 3 };
const ids = (rows: number): Uint8Array => Uint8Array.from({ length: 32 * rows }, (_, index) => index % 251);
const shard: CommittedShard = {
  sha256: "ab".repeat(32),
  bytes: 5_000_000_000,
  view: 2,
  rows: 3,
  imageIds: Buffer.from(ids(3)).toString("base64"),
  thumbnails: "cd".repeat(32),
};
const commit: TaskCommit = {
  formatVersion: 1,
  task: 7,
  worker: "extractor-1",
  imageIds: Buffer.from(ids(5)).toString("base64"),
  rejected: [{ row: 4, reason: "roses/ü.jpg: no picture" }],
  extracted: 3,
  cached: 1,
  shards: [shard, { ...shard, thumbnails: null }],
};

/** A WorkService that notes what it is called with and answers as told, or with what `answers` says at last. */
function recorder(answers: Partial<Record<keyof WorkService, unknown>> = {}) {
  const calls: [string, ...unknown[]][] = [];
  const work = new Proxy({} as WorkService, {
    get:
      (_, name: string) =>
      async (...args: unknown[]) => {
        calls.push([name, ...args]);
        const answer = answers[name as keyof WorkService];
        if (answer instanceof Error) throw answer;
        return typeof answer === "function" ? (answer as () => unknown)() : answer;
      },
  });
  return { work, calls };
}

async function setup(answers: Partial<Record<keyof WorkService, unknown>> = {}, options: Partial<WorkServiceOptions> = {}) {
  const { work, calls } = recorder(answers);
  const unexpected: unknown[] = [];
  const serve = (port = 0): Promise<RunningServer> =>
    serveGrpc({
      address: `127.0.0.1:${port}`,
      access: everyone,
      services: [workServiceHandlers(() => work)],
      onUnexpected: (error) => unexpected.push(error),
    });
  const server = await serve();
  const channel = openChannel({ address: `127.0.0.1:${server.port}`, tls: "plaintext" });
  releases.push(
    () => server.stop(0),
    () => channel.close(),
  );
  const client = grpcWorkService(channel, { clock: virtualClock(), random: () => 0, ...options });
  return { client, calls, server, serve, unexpected };
}

const base64Ids = (rows: number): string => Buffer.from(ids(rows)).toString("base64");
const [allIds, oneId] = [base64Ids(limits.taskPicturesMax), base64Ids(1)];
const largest: Readonly<Record<string, readonly CommittedShard[]>> = {
  "of many views": Array.from({ length: 200 }, (_, view) => ({ ...shard, view, rows: limits.taskPicturesMax, imageIds: allIds })),
  "of small shards": Array.from({ length: 100_000 }, (_, view) => ({ ...shard, view, rows: 1, imageIds: oneId })),
};

for (const [which, shards] of Object.entries(largest))
  test(`a commit ${which} that no message holds comes in several, and so does what is handed back`, async () => {
    const rejected = Array.from({ length: limits.taskPicturesMax }, (_, row) => ({
      row,
      reason: "€".repeat(limits.rejectionReasonLength),
    }));
    const { client, calls, unexpected } = await setup({ commitTask: "committed" });
    const shardsOf = (call: readonly unknown[]): readonly CommittedShard[] => {
      const last = call.at(-1) as readonly CommittedShard[] | TaskCommit;
      return "shards" in last ? last.shards : last;
    };

    expect(await client.commitTask(task, { ...commit, imageIds: allIds, rejected, shards })).toBe("committed");
    expect(new Set(calls.slice(0, -1).map(([name]) => name))).toEqual(new Set(["appendShards"]));
    expect(calls.at(-1)).toMatchObject(["commitTask", task, { imageIds: allIds, rejected }]);
    expect(calls.flatMap(shardsOf)).toEqual(shards);

    calls.length = 0;
    await client.releaseTask(task, shards);
    expect(calls.at(-1)?.[0]).toBe("releaseTask");
    expect(calls.flatMap(shardsOf)).toEqual(shards);
    expect(unexpected).toEqual([]);
  });

test("every call arrives as it was made, and its answer comes back", async () => {
  const claim: TaskClaim = { kind: "task", leaseMs: 9_000, ...task };
  const joined: Joined = {
    kind: "generation",
    jobId: "job-1",
    generation: 4,
    trainers: ["trainer-2", "trainer-1"],
    startStep: 120,
    stateWriter: "trainer-2",
    key: ids(1),
  };
  const { client, calls, unexpected } = await setup({
    claimTask: claim,
    heartbeatTask: "lost",
    lookupFeatures: Uint8Array.from([0, 1, 1]),
    commitTask: "already committed",
    joinTraining: joined,
    reportStep: 5,
    reportStall: 6,
  });
  const evaluation = {
    step: 10,
    epoch: 0.5,
    train: { loss: 1.25, accuracy: 0.5 },
    validation: { loss: 0.1, accuracy: 1 / 3, count: 30 },
    seconds: 2.5,
  };
  const failure = { worker: "w", jobId: "j", code: "OBJECT_CORRUPT", message: "shard x: broken", lease: "lease-1" } as const;
  const step = { step: 3, steps: 100, millisecondsPerStep: 1.5, grainsComputed: 2 ** 40 };

  expect(await client.claimTask("extractor-1", profile, "job-1")).toEqual(claim);
  expect(await client.heartbeatTask(task, { extracted: 3, cached: 2, rejected: 1 })).toBe("lost");
  expect(await client.lookupFeatures(task, ids(3), 2)).toEqual(Uint8Array.from([0, 1, 1]));
  expect(await client.commitTask(task, commit)).toBe("already committed");
  await client.appendShards(task, [shard, shard]);
  await client.releaseTask(task, [shard]);
  expect(await client.joinTraining("trainer-1", profile, "job-1", 12)).toEqual(joined);
  await client.reportMissingFeatures(member, ["ab".repeat(32), "00".repeat(32)]);
  expect(await client.reportStep(member, step)).toBe(5);
  expect(await client.reportStall(member, 9, ["trainer-2"])).toBe(6);
  await client.reportEvaluation(member, evaluation);
  await client.commitCheckpoint(member, 100);
  await client.reportPhase(member, "Exporting");
  await client.commitResult(member);
  await client.reportFailure(failure);

  expect(calls).toEqual([
    ["claimTask", "extractor-1", profile, "job-1"],
    ["heartbeatTask", task, { extracted: 3, cached: 2, rejected: 1 }],
    ["lookupFeatures", task, ids(3), 2],
    ["commitTask", task, commit],
    ["appendShards", task, [shard, shard]],
    ["releaseTask", task, [shard]],
    ["joinTraining", "trainer-1", profile, "job-1", 12, expect.any(AbortSignal)],
    ["reportMissingFeatures", member, ["ab".repeat(32), "00".repeat(32)]],
    ["reportStep", member, step],
    ["reportStall", member, 9, ["trainer-2"]],
    ["reportEvaluation", member, evaluation],
    ["commitCheckpoint", member, 100],
    ["reportPhase", member, "Exporting"],
    ["commitResult", member],
    ["reportFailure", failure],
  ]);
  expect(unexpected).toEqual([]);
});

test("what may be absent stays absent, and nothing is not zero", async () => {
  const fresh: Joined = {
    kind: "generation",
    jobId: "j",
    generation: 1,
    trainers: ["t"],
    startStep: 0,
    stateWriter: undefined,
    key: ids(1),
  };
  const { client, calls } = await setup({
    claimTask: { kind: "ask again" },
    joinTraining: fresh,
    reportStep: 0,
    commitTask: "committed",
    heartbeatTask: "kept",
  });
  const cpu = { ...profile, threads: 0, batch: 0, decoder: "" };
  const first = { ...task, task: 0 };
  const empty: TaskCommit = { ...commit, task: 0, imageIds: "", rejected: [], extracted: 0, cached: 0, shards: [] };
  const step = { step: 0, steps: 1, millisecondsPerStep: null, grainsComputed: 0 };
  const evaluation = { step: 0, epoch: 0, train: null, validation: null, seconds: 0 };
  const failure = { worker: "w", jobId: "j", code: "INTERNAL", message: "", lease: undefined } as const;

  expect(await client.claimTask("w", cpu)).toEqual({ kind: "ask again" });
  expect(await client.joinTraining("t", cpu, undefined, undefined)).toEqual(fresh);
  expect(await client.heartbeatTask(first, { extracted: 0, cached: 0, rejected: 0 })).toBe("kept");
  expect(await client.commitTask(first, empty)).toBe("committed");
  expect(await client.reportStep(member, step)).toBe(0);
  await client.reportEvaluation(member, evaluation);
  await client.reportPhase(member, "Evaluating");
  await client.reportFailure(failure);
  expect(calls.map(([, ...args]) => args)).toEqual([
    ["w", cpu, undefined],
    ["t", cpu, undefined, undefined, expect.any(AbortSignal)],
    [first, { extracted: 0, cached: 0, rejected: 0 }],
    [first, empty],
    [member, step],
    [member, evaluation],
    [member, "Evaluating"],
    [failure],
  ]);
});

test("the ends of claiming and joining", async () => {
  const { client } = await setup({ claimTask: { kind: "done" }, joinTraining: { kind: "done" } });
  expect(await client.claimTask("w", profile)).toEqual({ kind: "done" });
  expect(await client.joinTraining("t", profile, undefined, undefined)).toEqual({ kind: "done" });
  const again = await setup({ joinTraining: { kind: "ask again" } });
  expect(await again.client.joinTraining("t", profile, undefined, undefined)).toEqual({ kind: "ask again" });
});

test("a request with wrong fields is refused and never reaches the coordinator", async () => {
  const { client, calls } = await setup({ heartbeatTask: "kept" });
  const wrong = { code: "REQUEST_INVALID" };
  await expect(client.claimTask("", profile)).rejects.toMatchObject({
    ...wrong,
    message: "ClaimTask: worker must be there, and is absent or empty",
  });
  await expect(client.commitTask(task, { ...commit, shards: [{ ...shard, sha256: "../../evil" }] })).rejects.toMatchObject({
    ...wrong,
    message: 'CommitTask: shards[0].sha256 must be 64 lower-case hex digits, found "../../evil"',
  });
  await expect(client.releaseTask(task, [{ ...shard, rows: 4 }])).rejects.toMatchObject(wrong);
  await expect(client.commitCheckpoint(member, -1)).rejects.toMatchObject(wrong);
  await expect(client.lookupFeatures(task, ids(4_097), 0)).rejects.toMatchObject(wrong);
  await expect(
    client.reportFailure({ worker: "w", jobId: "j", code: "NO_SUCH" as "INTERNAL", message: "", lease: undefined }),
  ).rejects.toMatchObject(wrong);
  expect(calls).toEqual([]);
});

test("claims and commits wait for a coordinator that comes back; heartbeats and reports do not", async () => {
  let serverBack: Promise<RunningServer> | undefined;
  const sleeps: number[] = [];
  const clock = virtualClock((durationMs) => {
    sleeps.push(durationMs);
    if (sleeps.length === 3) serverBack = serve(server.port);
    return serverBack?.then(() => undefined);
  });
  const { client, calls, server, serve } = await setup({ commitTask: "committed" }, { clock });
  await server.stop(0);
  await expect(client.heartbeatTask(task, { extracted: 0, cached: 0, rejected: 0 })).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await expect(client.reportStep(member, { step: 0, steps: 1, millisecondsPerStep: null, grainsComputed: 0 })).rejects.toMatchObject({
    code: "SERVER_UNAVAILABLE",
    message: expect.stringContaining(`127.0.0.1:${server.port}`) as string,
  });
  expect(sleeps).toEqual([]);
  expect(await client.commitTask(task, commit)).toBe("committed");
  releases.push(async () => (await serverBack)?.stop(0));
  expect(sleeps.length).toBeGreaterThanOrEqual(3);
  expect(calls.map(([name]) => name)).toEqual(["commitTask"]);
});

test("the waiting for a coordinator has an end", async () => {
  const { client, server } = await setup();
  await server.stop(0);
  await expect(client.commitResult(member)).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
});

test("a failure that does not pass is not tried again", async () => {
  const { client, calls } = await setup({ commitResult: new CodedError("GENERATION_STALE", "generation 3 is over, 4 stands") });
  await expect(client.commitResult(member)).rejects.toMatchObject({ code: "GENERATION_STALE", message: "generation 3 is over, 4 stands" });
  expect(calls.length).toBe(1);
});

test("a worker that stops waits for nothing, and hands its task back all the same", async () => {
  const stop = new AbortController();
  const claimed = deferred();
  const pending = deferred<TaskClaim>();
  const { client, calls } = await setup(
    {
      claimTask: () => {
        claimed.resolve();
        return pending.promise;
      },
    },
    { signal: stop.signal },
  );
  const claim = client.claimTask("extractor-1", profile);
  await claimed.promise;
  stop.abort(new Error("SIGTERM"));
  await expect(claim).rejects.toThrow("SIGTERM");
  await client.releaseTask(task, []);
  expect(calls.at(-1)).toEqual(["releaseTask", task, []]);
});

test("a task that is found for a worker that has gone is handed back", async () => {
  const stop = new AbortController();
  const claimed = deferred();
  const pending = deferred<TaskClaim>();
  const released = deferred();
  const { client, calls } = await setup(
    {
      claimTask: () => {
        claimed.resolve();
        return pending.promise;
      },
      releaseTask: () => released.resolve(),
      heartbeatTask: "kept",
    },
    { signal: stop.signal },
  );
  const claim = client.claimTask("extractor-1", profile);
  await claimed.promise;
  stop.abort(new Error("SIGTERM"));
  await expect(claim).rejects.toThrow("SIGTERM");
  // A later call on the same connection: once it is answered the server knows that the first one was given up.
  await client.heartbeatTask(task, { extracted: 0, cached: 0, rejected: 0 });
  pending.resolve({ kind: "task", leaseMs: 9_000, ...task });
  await released.promise;
  expect(calls.at(-1)).toEqual(["releaseTask", { kind: "task", leaseMs: 9_000, ...task }, []]);
});
