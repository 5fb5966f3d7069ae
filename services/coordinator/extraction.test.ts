import { expect, test } from "vitest";
import { imageIdBytes } from "../../domain/features/image-ids.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import type { ListingRecord, PlanRecord, TaskCommit } from "../../domain/job/records.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobFeatures } from "../../platform/job-features/job-features.js";
import { commitRecord } from "../../formats/job-records/job-records.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import { Extraction } from "./extraction.js";

const profile = { engine: "fake" } as unknown as NumericsProfile;
const idOf = (picture: number): string => picture.toString(16).padStart(64, "0");
/** Sleeps until it is told to stop: nothing here may depend on time. */
const clock: Clock = {
  now: () => 0,
  monotonic: () => 0,
  sleep: (_ms, signal) => new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(new Error("over")))),
};

/** Two tasks of two pictures. */
async function setup() {
  const job = new JobObjects(memoryObjectStore(), "job");
  const listing = { tasks: 2, pictures: 4 } as ListingRecord;
  for (const task of [0, 1])
    await job.writeListing(
      task,
      [0, 1].map((row) => ({ uri: `${String(2 * task + row)}.jpg`, label: "a", bytes: 1, state: "s" })),
    );
  const features = { append: async () => undefined } as unknown as JobFeatures;
  const open = () =>
    Extraction.open({
      job,
      listing,
      features,
      clock,
      plan: { featureSpec: { profile } } as PlanRecord,
      announce: () => undefined,
      onChange: () => undefined,
    });
  const commitOf = (task: number, pictures: readonly number[], worker = "w"): TaskCommit => ({
    formatVersion: 1,
    task,
    worker,
    imageIds: Buffer.from(imageIdBytes(pictures.map(idOf))).toString("base64"),
    rejected: [],
    extracted: pictures.length,
    cached: 0,
    shards: [],
  });
  return { job, listing, open, commitOf, never: new AbortController().signal };
}

test("the first commit of a task wins, whoever holds the lease", async () => {
  const { open, commitOf, never, job } = await setup();
  const extraction = await open();
  const claims = [await extraction.claim("v", profile, never), await extraction.claim("w", profile, never)];
  expect(claims).toMatchObject([{ task: 0 }, { task: 1 }]);
  expect(await extraction.commit("of an earlier coordinator", commitOf(0, [0, 1], "old"))).toBe("committed");
  expect(await extraction.commit("v/0", commitOf(0, [0, 1], "v"))).toBe("already committed");
  expect((await job.readCommit(0, commitRecord))?.worker).toBe("old");
});

test("a worker that waits for a task is answered when the last one is committed, and when the job stops", async () => {
  const { open, commitOf, never } = await setup();
  const stop = new AbortController();
  const extraction = await open();
  for (const worker of ["v", "w"]) await extraction.claim(worker, profile, never);
  const stopped = extraction.claim("x", profile, stop.signal);
  const waiting = extraction.claim("y", profile, never);
  stop.abort();
  expect(await stopped).toEqual({ kind: "done" });
  await extraction.commit("v/0", commitOf(0, [0, 1]));
  await extraction.commit("w/1", commitOf(1, [2, 3]));
  expect(await waiting).toEqual({ kind: "done" });
});

test("a released task goes to the one who waits", async () => {
  const { open, never } = await setup();
  const extraction = await open();
  const [first] = [await extraction.claim("v", profile, never), await extraction.claim("w", profile, never)];
  const waiting = extraction.claim("x", profile, never);
  await extraction.release(first?.kind === "task" ? first.lease : "", []);
  expect(await waiting).toMatchObject({ kind: "task", task: 0 });
});

test("a repair is a further task with the lost pictures, each once however often it is repaired", async () => {
  const { job, listing, open, commitOf } = await setup();
  const extraction = await open();
  await extraction.commit("v/0", commitOf(0, [0, 1]));
  await extraction.commit("v/1", commitOf(1, [2, 3]));
  const isLost = (id: Uint8Array): boolean => [idOf(1), idOf(2)].includes(Buffer.from(id).toString("hex"));
  for (const round of [0, 1]) {
    expect(await Extraction.repair(job, listing, isLost)).toBe(2);
    const next = await open();
    expect([next.tasks, next.complete]).toEqual([3 + round, false]);
    expect((await job.readListing(2 + round)).map(({ uri }) => uri)).toEqual(["1.jpg", "2.jpg"]);
    await next.commit("v/2", commitOf(2 + round, [1, 2]));
    expect(next.complete).toBe(true);
  }
  expect(await Extraction.repair(job, listing, () => false)).toBe(0);
  expect((await open()).tasks).toBe(4);
});
