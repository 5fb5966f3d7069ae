import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { startFaultyProxy } from "../../test/support/faulty-proxy.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { type MinioServer, startMinio } from "../../test/support/minio.js";
import type { Bucket } from "../bucket/bucket.js";
import { connectBucket } from "../bucket/minio.js";
import { retryingBucket } from "../bucket/retrying.js";
import { systemClock } from "../clock/system.js";
import { serverRetries } from "../object-store/open-store.js";
import { openS3Dataset } from "./s3.js";
import { uploadDataset } from "./upload.js";

const isThere = goProgram("minio") !== undefined;
let minio: MinioServer;
let bucket: Bucket;
let folder: string;

beforeAll(async () => {
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  await minio.makeBucket("pictures");
  bucket = connectBucket(minio.access, "pictures");
});
afterAll(async () => minio?.stop());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "graft-upload-"));
  for (let index = 0; index < 60; index++) write(`class ${index % 3}/${index}.jpg`, `picture ${index}`);
  return () => rmSync(folder, { recursive: true });
});

function write(path: string, content: string): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

async function contents(prefix: string): Promise<Record<string, string>> {
  const { source } = await openS3Dataset(bucket, { bucket: "pictures", prefix });
  const found: Record<string, string> = {};
  for await (const file of source.list()) found[file.path] = Buffer.from(await source.read(file)).toString();
  return found;
}

describe.skipIf(!isThere)(`upload${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  test("every file is there afterwards; again only what changed is sent", async () => {
    const to = { bucket: "pictures", prefix: "flowers" };
    const reports: number[] = [];
    const first = await uploadDataset(folder, bucket, to, ({ files }) => reports.push(files));
    assert.deepEqual([first.source, first.files, first.skipped], ["s3://pictures/flowers/", 60, 0]);
    assert.deepEqual(
      reports,
      Array.from({ length: 60 }, (_, index) => index + 1),
    );
    assert.equal((await contents("flowers"))["class 1/31.jpg"], "picture 31");
    write("class 1/31.jpg", "PICTURE 31");
    write("class 9/new.jpg", "new");
    const second = await uploadDataset(folder, bucket, to, () => undefined);
    assert.deepEqual([second.files, second.skipped, second.bytes], [61, 59, 13]);
    const found = await contents("flowers");
    assert.deepEqual([Object.keys(found).length, found["class 1/31.jpg"], found["class 9/new.jpg"]], [61, "PICTURE 31", "new"]);
  });

  test("a manifest goes with its folder and is the source", async () => {
    write("m.csv", "uri,label\nclass 0/0.jpg,a\nclass 1/1.jpg,b\n");
    const { source, files } = await uploadDataset(join(folder, "m.csv"), bucket, { bucket: "pictures", prefix: "with" }, () => undefined);
    assert.deepEqual([source, files], ["s3://pictures/with/m.csv", 61]);
  });

  test("faults on the way are retried, an end by signal leaves a part that the next one completes", async () => {
    const proxy = await startFaultyProxy(minio.port);
    try {
      const shaky = retryingBucket(connectBucket({ ...minio.access, endpoint: proxy.endpoint }, "pictures"), serverRetries, {
        clock: systemClock,
        random: () => 0,
      });
      const to = { bucket: "pictures", prefix: "shaky" };
      const lost = proxy.inject({ kind: "answer lost" }, 3, (method) => method === "PUT");
      const stop = new AbortController();
      const reason = new CodedError("INTERRUPTED", "stopped");
      await assert.rejects(
        uploadDataset(folder, shaky, to, ({ files }) => files === 20 && stop.abort(reason), stop.signal),
        /stopped/,
      );
      assert.equal(lost.count, 3);
      const whole = await uploadDataset(folder, shaky, to, () => undefined);
      assert.ok(whole.files === 60 && whole.skipped >= 20, JSON.stringify(whole));
      assert.equal(Object.keys(await contents("shaky")).length, 60);
    } finally {
      await proxy.stop();
    }
  });
});
