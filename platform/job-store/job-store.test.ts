import assert from "node:assert/strict";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { CommitRecord } from "../../domain/job/records.js";
import { encodeListing } from "../../formats/listing/listing.js";
import { memoryObjectStore } from "../object-store/memory.js";
import { JobObjects } from "./job-store.js";
import { objectJobStore } from "./object-store.js";

const checkPlan = (value: unknown): { readonly grains: number } => {
  if (typeof (value as { grains?: unknown } | null)?.grains !== "number") throw new Error("grains is not a number");
  return value as { grains: number };
};

function commitOf(worker: string): CommitRecord {
  return { formatVersion: 1, task: 3, worker, imageIds: "", rejected: [], extracted: 0, cached: 0 };
}
const checkCommit = (value: unknown) => value as CommitRecord;

test("a fact is written once; later writers get the first one's back", async () => {
  const objects = new JobObjects(memoryObjectStore(), "j");
  assert.equal(await objects.readJson("plan.json", checkPlan), undefined);
  assert.deepEqual(await objects.createJson("plan.json", { grains: 8 }, checkPlan), { outcome: "created", value: { grains: 8 } });
  assert.deepEqual(await objects.createJson("plan.json", { grains: 4 }, checkPlan), { outcome: "exists", value: { grains: 8 } });
  const outcomes = await Promise.all(["a", "b", "c"].map((worker) => objects.commitTask(commitOf(worker), checkCommit)));
  assert.deepEqual(outcomes.map(({ outcome }) => outcome).sort(), ["created", "exists", "exists"]);
  assert.equal(new Set(outcomes.map(({ value }) => value.worker)).size, 1);
  assert.deepEqual(await objects.readCommit(3, checkCommit), outcomes[0]?.value);
});

test("JSON objects have canonical bytes", async () => {
  const store = memoryObjectStore();
  await new JobObjects(store, "j").createJson("plan.json", { b: { d: 1, c: [2, { f: 0, e: null }] }, a: "ü" }, (value) => value);
  assert.equal(Buffer.from((await store.read("jobs/j/plan.json")) ?? []).toString(), '{"a":"ü","b":{"c":[2,{"e":null,"f":0}],"d":1}}');
});

test("a damaged fact is OBJECT_CORRUPT with its name and what is wrong", async () => {
  const store = memoryObjectStore();
  const objects = new JobObjects(store, "j");
  const corrupt = (text: RegExp) => (error: unknown) =>
    error instanceof CodedError && error.code === "OBJECT_CORRUPT" && text.test(error.message);
  await store.put("jobs/j/plan.json", Buffer.from('{"grains":"8"}'));
  await assert.rejects(
    objects.readJson("plan.json", checkPlan),
    corrupt(/^memory: jobs\/j\/plan\.json \(14 bytes\) cannot be used: grains is not a number$/),
  );
  await assert.rejects(objects.createJson("plan.json", { grains: 8 }, checkPlan), corrupt(/grains is not a number/));
  await store.put("jobs/j/plan.json", Buffer.from('{"gra'));
  await assert.rejects(objects.readJson("plan.json", checkPlan), corrupt(/jobs\/j\/plan\.json/));
  await assert.rejects(objects.readListing(0), (error: unknown) => error instanceof CodedError && error.code === "OBJECT_MISSING");
});

test("commits, checkpoints and facts are listed in the order of their numbers", async () => {
  const objects = new JobObjects(memoryObjectStore(), "j");
  for (const step of [100, 20, 3]) assert.equal(await objects.createCheckpoint(step, Uint8Array.of(step)), "created");
  assert.equal(await objects.createCheckpoint(20, Uint8Array.of(9)), "exists");
  assert.deepEqual(await objects.checkpointSteps(), [3, 20, 100]);
  assert.deepEqual(await objects.readCheckpoint(20), Uint8Array.of(20));
  await objects.deleteCheckpoint(20);
  assert.deepEqual(await objects.checkpointSteps(), [3, 100]);
  for (const task of [11, 2, 0]) await objects.commitTask({ ...commitOf("w"), task }, checkCommit);
  assert.deepEqual(await objects.committedTasks(), [0, 2, 11]);
  for (const step of [10, 9]) await objects.createJson(`log/${step}.json`, {}, (value) => value);
  assert.deepEqual(await objects.numberedFacts("log"), [9, 10]);
});

test("parts of listing and samples come back; they and results may be written anew", async () => {
  const objects = new JobObjects(memoryObjectStore(), "j");
  const picture = { uri: "a/1.jpg", bytes: 5, state: "5:1", label: "a" };
  await objects.writeListing(0, [{ ...picture, uri: "a/0.jpg" }]);
  assert.deepEqual(await objects.writeListing(0, [picture]), encodeListing([picture]));
  assert.deepEqual(await objects.readListing(0), [picture]);
  const samples = { imageIds: new Uint8Array(32).fill(7), labels: Int32Array.of(1), splits: Uint8Array.of(2), uris: ["a/1.jpg"] };
  await objects.writeSamples(4, samples);
  assert.deepEqual(await objects.readSamples(4), samples);
  await objects.putResult("tfjs/model.json", Uint8Array.of(1));
  await objects.putResult("tfjs/model.json", Uint8Array.of(2));
  await objects.putResult("labels.txt", Uint8Array.of(3));
  const files: string[] = [];
  for await (const file of objects.resultFiles()) files.push(file);
  assert.deepEqual(files, ["labels.txt", "tfjs/model.json"]);
  assert.deepEqual(await objects.readResult("tfjs/model.json"), Uint8Array.of(2));
});

test("jobs are listed by their specs; status is overwritten, spec is not", async () => {
  const store = memoryObjectStore();
  const jobs = objectJobStore(store);
  assert.equal(await jobs.create("b", { seed: 1 }), "created");
  assert.equal(await jobs.create("a", { seed: 2 }), "created");
  assert.equal(await jobs.create("b", { seed: 3 }), "exists");
  await store.create("jobs/half/status.json", Buffer.from("{}"));
  const ids: string[] = [];
  for await (const id of jobs.list()) ids.push(id);
  assert.deepEqual(ids, ["a", "b"]);
  assert.deepEqual(await jobs.readSpec("b", (value) => value), { seed: 1 });
  await jobs.writeStatus("b", { phase: "Scanning" });
  await jobs.writeStatus("b", { phase: "Planning" });
  assert.deepEqual(await jobs.readStatus("b", (value) => value), { phase: "Planning" });
  assert.equal(await jobs.readStatus("a", (value) => value), undefined);
});

test("facts by name are listed in order, without what lies deeper", async () => {
  const store = memoryObjectStore();
  const objects = new JobObjects(store, "j");
  for (const name of ["workers/b.json", "workers/a.json", "workers/deep/c.json", "workersx/d.json"])
    await objects.createJson(name, {}, (value) => value);
  await new JobObjects(store, "other").createJson("workers/e.json", {}, (value) => value);
  assert.deepEqual(await objects.namedFacts("workers"), ["a", "b"]);
  assert.deepEqual(await objects.namedFacts("none"), []);
});

test("a job is deleted as a whole, or all but its record and its result; other jobs stay", async () => {
  for (const exceptResult of [true, false]) {
    const store = memoryObjectStore();
    const kept = ["plan.json", "result.json", "result/tfjs/model.json", "spec.json", "status.json"];
    const passing = [...Array.from({ length: 40 }, (_, number) => `commits/${String(number)}.json`), "checkpoints/1/state", "results.json"];
    for (const name of [...kept, ...passing]) await store.put(`jobs/j/${name}`, Buffer.from("{}"));
    await store.put("jobs/j2/spec.json", Buffer.from("{}"));
    await new JobObjects(store, "j").deleteAll({ exceptResult });
    const left: string[] = [];
    for await (const key of store.list("jobs/")) left.push(key);
    assert.deepEqual(left, [...(exceptResult ? kept.map((name) => `jobs/j/${name}`) : []), "jobs/j2/spec.json"]);
  }
});
