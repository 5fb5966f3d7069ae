import { existsSync, readdirSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JobSpec } from "../../domain/job/spec.js";
import type { JobResult } from "../support/job-result.js";
import { finished, jobOn, JobProcess, richJob, samplePictures, temporaryFolder } from "../support/local-jobs.js";

/** 160 training pictures in four views and 40 others have 3.4 MB of features, which are streamed where 1 MiB may be held. */
const job: JobSpec = {
  ...richJob,
  views: { count: 4, horizontalFlip: true, rotation: { maxDegrees: 20 } },
  training: { ...richJob.training, sampling: "SHUFFLED", featureMemoryMib: 1 },
};
const folder = temporaryFolder();
const pictures = join(folder.path, "pictures");
/** Features are extracted once; every run begins without lanes, unless it says otherwise. */
const store = join(folder.path, "store");
let runs = 0;
let first: JobResult;

/** The same job under another name each time, so that it is not the run before that goes on. */
function spec(trainers: number): JobSpec {
  return { ...jobOn(pictures, job, { trainers }), minimumAccuracy: ++runs / 1000 };
}

function laneFolders(): string[] {
  return readdirSync(join(store, "features"))
    .map((digest) => join(store, "features", digest, "lanes"))
    .filter((path) => existsSync(path));
}

function removeLanes(): void {
  for (const path of laneFolders()) rmSync(path, { recursive: true });
}

function filesOfLanes(ending: string): string[] {
  return laneFolders().flatMap((path) =>
    readdirSync(path).flatMap((key) =>
      readdirSync(join(path, key))
        .filter((name) => name.endsWith(ending))
        .map((name) => join(path, key, name)),
    ),
  );
}

beforeAll(async () => {
  samplePictures(pictures);
  first = (await finished({ store, spec: spec(1) })).result;
});
afterAll(folder.remove);

test("learns as a resident job does, with other bits", async () => {
  const { training } = job;
  const resident = (await finished({ store, spec: { ...spec(1), training: { ...training, featureMemoryMib: 4 } } })).result;
  expect(resident.metrics.weightsSha256).not.toBe(first.metrics.weightsSha256);
  expect(first.metrics.train.accuracy).toBeGreaterThan(0.9);
  expect(Math.abs(resident.metrics.test.accuracy! - first.metrics.test.accuracy!)).toBeLessThanOrEqual(0.2);
  // One lane a grain and view, and segments of validation and test.
  expect(filesOfLanes("index.json").length).toBeGreaterThanOrEqual(8 * 4 + 2);
});

test.each([2, 3, 4])("%i trainers: the same weights", async (trainers) => {
  removeLanes();
  const { result } = await finished({ store, spec: spec(trainers) });
  expect(result.metrics.weightsSha256).toBe(first.metrics.weightsSha256);
  expect(result.metrics.test).toEqual(first.metrics.test);
  expect(Object.keys(result.grainsComputed)).toHaveLength(trainers);
});

test("killed in the middle of training and run again with other trainers: the same weights", async () => {
  const killed = await new JobProcess({ store, spec: spec(1), kill: { milestone: "between updates", occurrence: 77 } }).end;
  expect(killed, killed.stderr).toMatchObject({ signal: "SIGKILL" });
  runs--;
  const { result } = await finished({ store, spec: spec(4) });
  expect(result.metrics.weightsSha256).toBe(first.metrics.weightsSha256);
  expect(result.grainsComputed["trainer-0"]).toBe((120 - 50) * 2);
});

test("lanes that were damaged, cut short or taken away since cost time, never a bit", async () => {
  const parts = filesOfLanes(".rows");
  parts.forEach((path, index) => {
    if (index % 3 === 0) truncateSync(path, 10);
    else if (index % 3 === 1) rmSync(path);
  });
  const indexes = filesOfLanes("index.json").length;
  const { result } = await finished({ store, spec: spec(2) });
  expect(result.metrics.weightsSha256).toBe(first.metrics.weightsSha256);
  expect(filesOfLanes("index.json").length).toBeLessThan(indexes);
  // Made again, and used.
  const again = await finished({ store, spec: spec(2) });
  expect(again.result.metrics.weightsSha256).toBe(first.metrics.weightsSha256);
  expect(filesOfLanes("index.json").length).toBe(indexes);
});

test("a shard that is damaged before lanes are made is extracted again: the same weights", async () => {
  removeLanes();
  const shards = readdirSync(join(store, "features"))
    .map((digest) => join(store, "features", digest, "shards"))
    .flatMap((path) => readdirSync(path).map((name) => join(path, name)));
  for (const path of shards.slice(0, 2)) truncateSync(path, 1000);
  const { result, decoded } = await finished({ store, spec: spec(2) });
  expect(decoded).toBeGreaterThan(0);
  expect(result.metrics.weightsSha256).toBe(first.metrics.weightsSha256);
});

test("class-balanced sampling is refused before a picture is read", async () => {
  const training = { ...job.training, sampling: "CLASS_BALANCED" } as const;
  const { failure, decoded } = await new JobProcess({ store: join(folder.path, "new"), spec: { ...spec(1), training } }).end;
  expect(failure?.code).toBe("SPEC_INVALID");
  expect(failure?.message).toMatch(/the features need 4 MiB, training\.featureMemoryMib is 1, so they are streamed; .* CLASS_BALANCED/u);
  expect(decoded).toBe(0);
});
