import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { featureSpecDigest, type FeatureSpec } from "../../domain/features/feature-spec.js";
import { garbageAgeMs } from "../../domain/job/garbage.js";
import { scaledToOne } from "../../domain/network/preprocessing.js";
import { FeatureStore, type ShardRows } from "../../platform/feature-store/feature-store.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { objectJobStore } from "../../platform/job-store/object-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { prefixedObjectStore } from "../../platform/object-store/prefixed.js";
import { collectGarbage } from "../../services/local/collect-garbage.js";

const specOf = (cut: string): FeatureSpec => ({
  formatVersion: 1,
  backboneDigest: "cd".repeat(32),
  cut,
  shape: [2],
  preprocessing: { size: 8, resize: "STRETCH", resizeTo: 8, ...scaledToOne },
  dtype: "float32",
  profile: { engine: "test", engineVersion: "1", device: "cpu", instructionSet: "none", threads: 1, batch: 1, decoder: "" },
});

const rowsOf = (name: string): ShardRows => ({
  view: 0,
  imageIds: createHash("sha256").update(name).digest(),
  features: Float32Array.of(name.length, 1),
  thumbnails: [Buffer.from(`JPEG ${name}`)],
});

const body = Buffer.from("x");

/** Fills a store that has nothing yet with what is needed and what is not, and sees that `graft gc` deletes exactly the latter, a day later. */
export async function exerciseGarbage(store: ObjectStore, now: () => number): Promise<void> {
  const jobs = objectJobStore(store);
  const job = async (id: string, phase: string, plan?: unknown): Promise<void> => {
    await jobs.create(id, {});
    await jobs.writeStatus(id, { phase });
    if (plan !== undefined) await new JobObjects(store, id).putJson("plan.json", plan);
    for (const name of ["checkpoints/100/state", "result/model.onnx", "commits/0.json"]) await store.put(`jobs/${id}/${name}`, body);
  };
  const unused = await FeatureStore.open(store, specOf("unused"));
  const kept = await unused.writeShard(rowsOf("kept"));
  await unused.append([kept]);
  const lost = await unused.writeShard(rowsOf("lost"));
  await store.put(`features/${unused.digest}/quarantine/${lost.sha256}.arrow`, body);
  const used = await FeatureStore.open(store, specOf("used"));
  await used.writeShard(rowsOf("not yet in the index"));
  const views = await FeatureStore.open(store, specOf("views"));
  await views.writeShard(rowsOf("not yet in the index either"));
  await job("running", "Extracting", { featureSpecDigest: featureSpecDigest(specOf("used")), viewSpec: specOf("views") });
  // The same features in a domain, where none but a job of the domain counts.
  const part = prefixedObjectStore(store, "domains/team-a/");
  const idle = await (await FeatureStore.open(part, specOf("used"))).writeShard(rowsOf("of a job in another domain"));
  const busy = await FeatureStore.open(part, specOf("views"));
  await busy.writeShard(rowsOf("not yet in the index of the domain"));
  await part.put(`features/${busy.digest}/quarantine/${lost.sha256}.arrow`, body);
  await part.put("identities/a/b.json", body);
  await job("running-there", "Extracting", { featureSpecDigest: busy.digest, viewSpec: null, domain: "team-a" });
  await job("complete", "Complete");
  await job("failed", "Failed");
  await job("cancelled", "Cancelled");
  for (const key of ["jobs/deleted/plan.json", "jobs/deleted/log/1.json", "identities/a/b.json", "backbones/x/topology.json"])
    await store.put(key, body);

  const collect = async (ageMs: number, dryRun: boolean): Promise<string[]> => {
    const found: string[] = [];
    await collectGarbage({ store, jobs, clock: { now: () => now() + ageMs } }, dryRun, ({ key, bytes, reason }) => {
      assert.ok(bytes > 0 && reason !== "");
      found.push(key);
    });
    return found.sort();
  };
  const all = await keysOf(store);
  const expected = [
    `domains/team-a/features/${busy.digest}/quarantine/${lost.sha256}.arrow`,
    `domains/team-a/features/${used.digest}/shards/${idle.sha256}.arrow`,
    `domains/team-a/features/${used.digest}/thumbnails/${idle.thumbnails}.arrow`,
    `features/${unused.digest}/quarantine/${lost.sha256}.arrow`,
    `features/${unused.digest}/shards/${lost.sha256}.arrow`,
    `features/${unused.digest}/thumbnails/${lost.thumbnails}.arrow`,
    "jobs/cancelled/checkpoints/100/state",
    "jobs/cancelled/result/model.onnx",
    "jobs/complete/checkpoints/100/state",
    "jobs/deleted/log/1.json",
    "jobs/deleted/plan.json",
    "jobs/failed/result/model.onnx",
  ].sort();
  // 1. What is younger than a day is kept, and a dry run deletes nothing.
  assert.deepEqual(await collect(garbageAgeMs - 3_600_000, false), []);
  assert.deepEqual(await collect(garbageAgeMs + 60_000, true), expected);
  assert.deepEqual(await keysOf(store), all);
  // 2. A job that has not decided yet may use any features.
  await job("undecided", "Scanning");
  assert.deepEqual(
    await collect(garbageAgeMs + 60_000, true),
    expected.filter((key) => !/shards|thumbnails/.test(key)),
  );
  await jobs.writeStatus("undecided", { phase: "Failed" });
  // 3. The rest goes, what is needed stays.
  const after = await keysOf(store);
  assert.deepEqual(await collect(garbageAgeMs + 60_000, false), [...expected, "jobs/undecided/result/model.onnx"].sort());
  assert.deepEqual(
    await keysOf(store),
    after.filter((key) => !expected.includes(key) && key !== "jobs/undecided/result/model.onnx"),
  );
  assert.deepEqual(await collect(garbageAgeMs + 60_000, false), []);
  assert.equal((await unused.readRows(rowsOf("kept").imageIds)).kind, "complete");
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys = [];
  for await (const key of store.list("")) keys.push(key);
  return keys.sort();
}
