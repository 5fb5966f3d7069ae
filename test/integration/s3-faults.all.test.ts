import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { samplesRecord } from "../../formats/job-records/job-records.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import type { S3Access } from "../../platform/bucket/bucket.js";
import { systemClock } from "../../platform/clock/system.js";
import { uploadTo } from "../../platform/dataset-source/open-dataset.js";
import { openLocal } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { type Fault, type FaultyProxy, type Injected, startFaultyProxy } from "../support/faulty-proxy.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { jobOn, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";
import { resultOf } from "../support/job-result.js";
import { type MinioServer, startMinio } from "../support/minio.js";

const isThere = goProgram("minio") !== undefined;
const folder = temporaryFolder();
let minio: MinioServer;
let proxy: FaultyProxy;

beforeAll(async () => {
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  await minio.makeBucket("graft");
  proxy = await startFaultyProxy(minio.port);
  const pictures = samplePictures(folder.path, 20, 3);
  await uploadTo(pictures, "s3://graft/pictures", minio.access, { clock: systemClock, random: Math.random }, () => undefined);
  rmSync(pictures, { recursive: true });
});
afterAll(async () => {
  await proxy?.stop();
  await minio?.stop();
  folder.remove();
});

async function run(
  access: S3Access,
  store: string,
): Promise<{ readonly weightsSha256: string; readonly rejected: number; readonly rows: number }> {
  const local = await openLocal(store, { store: access });
  const job = resolveJob(
    jobOn("s3://graft/pictures", { ...smallJob, training: { ...smallJob.training, steps: 40 } }, { extractors: 2 }),
    "test",
  );
  await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const { signal } = new AbortController();
  const outcome = await runLocalJob(local, { job, name: "test", out: "out", announce: () => undefined, signal });
  const samples = await outcome.job.readJson("samples/summary.json", samplesRecord);
  const { metrics } = await resultOf(outcome, {});
  return { weightsSha256: metrics.weightsSha256, rejected: samples?.rejectedCount ?? -1, rows: samples?.rows ?? -1 };
}

/** Every fault, on pictures that are read and on what is read from, written to and listed in the store. */
function injectAll(): readonly (readonly [string, Injected])[] {
  const faults: readonly Fault[] = [
    ...[503, 429].map((status): Fault => ({ kind: "status", status })),
    ...(["reset", "answer lost", "stalled body", "cut body", "short body", "flipped bit"] as const).map((kind): Fault => ({ kind })),
  ];
  const calls: Readonly<Record<string, (method: string, path: string) => boolean>> = {
    picture: (method, path) => method === "GET" && path.includes("/pictures/") && path.endsWith(".jpg"),
    shard: (method, path) => method === "GET" && path.includes("/shards/"),
    write: (method, path) => method === "PUT" && path.includes("/graft/faulty/"),
  };
  return faults.flatMap((fault) =>
    Object.entries(calls).flatMap(([name, applies]) => {
      const isOfBody = !["status", "reset", "answer lost"].includes(fault.kind);
      return name === "write" && isOfBody ? [] : [[`${JSON.stringify(fault)} on a ${name}`, proxy.inject(fault, 1, applies)] as const];
    }),
  );
}

describe.skipIf(!isThere)(`a job on a faulty store${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  test("has the bits of an undisturbed one, and no picture is rejected", async () => {
    const undisturbed = await run(minio.access, "s3://graft/calm");
    const injected = injectAll();
    const disturbed = await run({ ...minio.access, endpoint: proxy.endpoint, deadlineMs: 2_000 }, "s3://graft/faulty");
    assert.deepEqual(disturbed, undisturbed);
    assert.deepEqual([disturbed.rejected, disturbed.rows], [0, 60]);
    assert.deepEqual(
      injected.filter(([, { count }]) => count !== 1).map(([name]) => name),
      [],
    );
  });
});
