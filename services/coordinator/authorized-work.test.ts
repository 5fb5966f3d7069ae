import { expect, test } from "vitest";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { Access, Caller, Pod } from "../../platform/access/access.js";
import { everyone } from "../../platform/access/everyone.js";
import type { WorkService } from "../../platform/work-service/work-service.js";
import { AuthorizedWork } from "./authorized-work.js";

const pod: Pod = { namespace: "team-a", name: "flowers-trainers-x", uid: "pod-1" };
const profile = {} as NumericsProfile;

function setup({ worker }: Pick<Caller, "worker"> = { worker: pod }) {
  const calls: [string, ...unknown[]][] = [];
  const note =
    (name: string) =>
    async (...args: readonly unknown[]): Promise<void> => {
      calls.push([name, ...args]);
    };
  const work = Object.fromEntries(everyCall.map(([name]) => [name, note(name)])) as unknown as WorkService;
  const access: Access = { ...everyone, jobOfPod: async ({ uid }) => (uid === pod.uid ? "job-1" : undefined) };
  const caller: Caller = { user: "u", uid: "", groups: [], extra: {}, namespace: "team-a", client: true, worker };
  return { work: new AuthorizedWork({ work, access }, caller), calls };
}

/** Every call, for a worker's name and a job. */
const everyCall: readonly (readonly [keyof WorkService, (work: WorkService, worker: string, jobId: string) => Promise<unknown>])[] = [
  ["claimTask", (work, worker, jobId) => work.claimTask(worker, profile, jobId)],
  ["heartbeatTask", (work, worker, jobId) => work.heartbeatTask(task(worker, jobId), { extracted: 0, cached: 0, rejected: 0 })],
  ["lookupFeatures", (work, worker, jobId) => work.lookupFeatures(task(worker, jobId), new Uint8Array(), 0)],
  ["commitTask", (work, worker, jobId) => work.commitTask(task(worker, jobId), {} as Parameters<WorkService["commitTask"]>[1])],
  ["appendShards", (work, worker, jobId) => work.appendShards(task(worker, jobId), [])],
  ["releaseTask", (work, worker, jobId) => work.releaseTask(task(worker, jobId), [])],
  ["joinTraining", (work, worker, jobId) => work.joinTraining(worker, profile, jobId, undefined)],
  ["reportMissingFeatures", (work, worker, jobId) => work.reportMissingFeatures(member(worker, jobId), [])],
  [
    "reportStep",
    (work, worker, jobId) => work.reportStep(member(worker, jobId), { step: 1, steps: 2, millisecondsPerStep: 1, grainsComputed: 0 }),
  ],
  ["reportStall", (work, worker, jobId) => work.reportStall(member(worker, jobId), 1, [])],
  [
    "reportEvaluation",
    (work, worker, jobId) => work.reportEvaluation(member(worker, jobId), {} as Parameters<WorkService["reportEvaluation"]>[1]),
  ],
  ["commitCheckpoint", (work, worker, jobId) => work.commitCheckpoint(member(worker, jobId), 1)],
  ["reportPhase", (work, worker, jobId) => work.reportPhase(member(worker, jobId), "Evaluating")],
  ["commitResult", (work, worker, jobId) => work.commitResult(member(worker, jobId))],
  ["reportFailure", (work, worker, jobId) => work.reportFailure({ worker, jobId, code: "INTERNAL", message: "", lease: undefined })],
];
const task = (worker: string, jobId: string) => ({ worker, jobId, task: 0, lease: "l" });
const member = (trainer: string, jobId: string) => ({ trainer, jobId, generation: 1 });

test("every call of WorkService is among those that are tried here", () => {
  const methods = Object.getOwnPropertyNames(AuthorizedWork.prototype);
  expect([...everyCall.map(([name]) => name), "constructor", "ofTask", "asMember", "permitted"].sort()).toEqual(methods.sort());
});

test.each(everyCall)("%s is for a pod of the job, under its own name", async (name, ask) => {
  const { work, calls } = setup();
  await ask(work, pod.name, "job-1");
  expect(calls.map(([called]) => called)).toEqual([name]);
  const refused = async (asked: Promise<unknown>, message: RegExp): Promise<void> =>
    expect(asked).rejects.toMatchObject({ code: "ACCESS_DENIED", message: expect.stringMatching(message) as string });
  await refused(ask(work, pod.name, "job-2"), /pod team-a\/flowers-trainers-x was made for job job-1, and asks for job "job-2"/);
  await refused(ask(work, "flowers-trainers-y", "job-1"), /calls as worker "flowers-trainers-y"; a worker has the name of its pod/);
  const noJob = setup({ worker: { ...pod, uid: "pod-2" } });
  await refused(ask(noJob.work, pod.name, "job-1"), /is no worker of a job/);
  const noPod = setup({ worker: undefined });
  await refused(ask(noPod.work, pod.name, "job-1"), /u is no worker/);
  expect([...calls.slice(1), ...noJob.calls, ...noPod.calls]).toEqual([]);
});

test("a pod that names no job means its own", async () => {
  const { work, calls } = setup();
  await work.claimTask(pod.name, profile);
  await work.joinTraining(pod.name, profile, undefined, 7);
  expect(calls).toEqual([
    ["claimTask", pod.name, profile, "job-1"],
    ["joinTraining", pod.name, profile, "job-1", 7, undefined],
  ]);
});

test.each(everyCall)("%s is for anyone where workers are no pods", async (name, ask) => {
  const { work, calls } = setup({ worker: "anyone" });
  await ask(work, "host-1", "job-2");
  expect(calls.map(([called]) => called)).toEqual([name]);
});

test("a pool stays a pool where workers are no pods", async () => {
  const { work, calls } = setup({ worker: "anyone" });
  await work.claimTask("host-1", profile);
  expect(calls).toEqual([["claimTask", "host-1", profile, undefined]]);
});
