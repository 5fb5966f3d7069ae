import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { Client } from "minio";
import { afterAll, beforeAll, describe, test } from "vitest";
import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import { scanDataset } from "../../domain/dataset/scan.js";
import { type ErrorCode, CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { decodeManifest } from "../../formats/manifest/manifest.js";
import { type Fault, type FaultyProxy, startFaultyProxy } from "../../test/support/faulty-proxy.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { type MinioServer, startMinio } from "../../test/support/minio.js";
import type { Bucket, S3Access } from "../bucket/bucket.js";
import { connectBucket } from "../bucket/minio.js";
import { systemClock } from "../clock/system.js";
import type { ListedFile, OpenedDataset } from "./dataset-source.js";
import { openDataset } from "./open-dataset.js";

const isThere = goProgram("minio") !== undefined;
let minio: MinioServer;
let proxy: FaultyProxy;
let bucket: Bucket;
/** Writes as other programs do: without graft's digest. */
let client: Client;

beforeAll(async () => {
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  await minio.makeBucket("pictures");
  bucket = connectBucket(minio.access, "pictures");
  client = new Client({ ...minio.access, endPoint: "127.0.0.1", port: minio.port, useSSL: false });
  proxy = await startFaultyProxy(minio.port);
});
afterAll(async () => {
  await proxy?.stop();
  await minio?.stop();
});

async function write(...keys: string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 50)
    await Promise.all(keys.slice(at, at + 50).map((key) => client.putObject("pictures", key, Buffer.from(`content of ${key}`))));
}

function open(location: string, access: Partial<S3Access> = {}): Promise<OpenedDataset> {
  return openDataset(location, { ...minio.access, ...access }, { clock: systemClock, random: () => 0 });
}

async function list({ source }: OpenedDataset): Promise<ListedFile[]> {
  const files: ListedFile[] = [];
  for await (const file of source.list()) files.push(file);
  return files;
}

async function refusal(code: ErrorCode, operation: () => Promise<unknown>): Promise<string> {
  const error = await operation().then(
    () => assert.fail("nothing was refused"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CodedError, String(error));
  assert.equal(error.code, code, error.message);
  return error.message;
}

describe.skipIf(!isThere)(`a dataset in a bucket${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  test("files come in the order of their paths' UTF-8 bytes, whatever their names are", async () => {
    const names = [
      "a.b/1",
      "a/1",
      "a/b/2",
      "a/b.c",
      "a0",
      "B/1",
      "é/1",
      "e\u0301/1",
      "two words/x y",
      "<script>/1",
      "\u{1f33c}",
      "\uff5e",
      "1/01",
      "%41/+&",
    ];
    await write(...names.map((name) => `odd/${name}`), "odd2/outside");
    const files = await list(await open("s3://pictures/odd/"));
    assert.deepEqual(
      files.map(({ path }) => path),
      [...names].sort(compareUtf8),
    );
    const opened = await open("s3://pictures/odd");
    for (const file of files) assert.equal(Buffer.from(await opened.source.read(file)).toString(), `content of odd/${file.path}`);
    assert.equal(opened.source.location, "s3://pictures/odd");
  });

  test("3,000 objects in folders of many shapes are listed as they are", async () => {
    const keys = Array.from({ length: 3_000 }, (_, index) => `deep/${index % 3 === 0 ? "test" : "train"}/class ${index % 37}/${index}.jpg`);
    await write(...keys);
    const files = await list(await open("s3://pictures/deep"));
    assert.deepEqual(
      files.map(({ path }) => `deep/${path}`),
      [...keys].sort(compareUtf8),
    );
    const scan = scanDataset((await open("s3://pictures/deep")).source.list(), "s3://pictures/deep");
    let pictures = 0;
    for await (const _ of scan) pictures++;
    assert.deepEqual([pictures, scan.summary.layout, scan.summary.classes.length], [3_000, "GIVEN_SPLITS", 37]);
  });

  test("a folder's own object is listed where nothing else is in it", async () => {
    await bucket.put("marked/", new Uint8Array(0), false);
    await bucket.put("marked/empty/", new Uint8Array(0), false);
    await bucket.put("marked/full/", new Uint8Array(0), false);
    await write("marked/full/1");
    assert.deepEqual(
      (await list(await open("s3://pictures/marked"))).map(({ path }) => path),
      ["empty/", "full/1"],
    );
  });

  test("a state is size and ETag: it tells a changed picture, which is then refused", async () => {
    await write("state/a/1", "state/a/2");
    const opened = await open("s3://pictures/state");
    const [first, second] = await list(opened);
    assert.ok(first && second);
    const md5 = createHash("md5").update("content of state/a/1").digest("hex");
    assert.deepEqual([first.bytes, first.state], [20, `20-${md5}`]);
    await bucket.put("state/a/1", Buffer.from("CONTENT of state/a/1"), false);
    assert.match(
      await refusal("DATASET_CHANGED", () => opened.source.read(first)),
      /s3:\/\/pictures\/state\/a\/1: .*found another object there/,
    );
    await bucket.delete("state/a/2");
    assert.match(await refusal("DATASET_CHANGED", () => opened.source.read(second)), /found it gone/);
    const huge = { path: "a/1", bytes: limits.imageBytes + 1, state: "" };
    await refusal("DATASET_INVALID", () => opened.source.read(huge));
  });

  test("a manifest names what lies beside it and nothing else", async () => {
    await write("manifest/x/1", "manifest/y/2", "secret/1");
    await bucket.put("manifest/m.csv", Buffer.from("uri,label\nx/1,a\ny/2,b\n"), false);
    const opened = await open("s3://pictures/manifest/m.csv");
    assert.equal(opened.source.location, "s3://pictures/manifest");
    assert.ok(opened.manifest);
    const table = decodeManifest(opened.manifest.bytes, "csv", opened.manifest.name);
    const rows = [];
    for await (const { uri, label } of scanDataset(opened.source.list(), opened.source.location, table)) rows.push(`${uri} ${label}`);
    assert.deepEqual(rows, ["x/1 a", "y/2 b"]);
    for (const uri of ["../secret/1", "s3://pictures/secret/1", "/secret/1", "x/../../secret/1"]) {
      await bucket.put("manifest/bad.csv", Buffer.from(`uri,label\nx/1,a\n${uri},b\n`), false);
      const { manifest } = await open("s3://pictures/manifest/bad.csv");
      assert.ok(manifest);
      assert.throws(() => decodeManifest(manifest.bytes, "csv", manifest.name), /bad lines; line 3/);
    }
  });

  test("what is missing or refused is told apart", async () => {
    assert.match(await refusal("DATASET_NOT_FOUND", () => open("s3://pictures/nothing-here")), /found nothing there/);
    assert.match(await refusal("DATASET_NOT_FOUND", () => open("s3://no-such-bucket/x")), /there is no bucket no-such-bucket/);
    assert.match(await refusal("ACCESS_DENIED", () => open("s3://pictures/x", { secretKey: "wrong-key" })), /SignatureDoesNotMatch/);
    assert.match(await refusal("CONFIG_INVALID", () => open("s3://Pictures_/x")), /expected s3:\/\/BUCKET/);
    assert.match(
      await refusal("CONFIG_INVALID", () => openDataset("s3://pictures/x", undefined, { clock: systemClock, random: Math.random })),
      /set GRAFT_S3_ENDPOINT/,
    );
  });

  const faults: readonly Fault[] = [
    ...[503, 429].map((status): Fault => ({ kind: "status", status })),
    ...(["reset", "stalled body", "cut body", "short body", "flipped bit"] as const).map((kind): Fault => ({ kind })),
  ];
  for (const fault of faults) {
    const name = fault.kind === "status" ? `${fault.status}` : fault.kind;
    test(`pictures and listings are read again after ${name}, and never used wrong`, async () => {
      await write("faults/a/1", "faults/b/1");
      const opened = await open("s3://pictures/faults", { endpoint: proxy.endpoint, deadlineMs: 500 });
      const [file] = await list(opened);
      assert.ok(file);
      const injected = proxy.inject(fault, 2, (method, path) => method === "GET" && path.endsWith("faults/a/1"));
      assert.equal(Buffer.from(await opened.source.read(file)).toString(), "content of faults/a/1");
      assert.equal(injected.count, 2);
      if (fault.kind === "flipped bit" || fault.kind === "short body") return; // a listing has no digest of its own
      const onListing = proxy.inject(fault, 1, (_, path) => path.includes("list-type=2"));
      assert.equal((await list(opened)).length, 2);
      assert.equal(onListing.count, 1);
    });
  }

  test("a picture that was uploaded in parts, whose ETag is no MD5, is checked by its length", async () => {
    const parts = new Client({ ...minio.access, endPoint: "127.0.0.1", port: minio.port, useSSL: false, partSize: 5 * 1024 * 1024 });
    await parts.putObject("pictures", "parts/a/2", Readable.from([Buffer.alloc(6 * 1024 * 1024, "picture")]));
    const opened = await open("s3://pictures/parts", { endpoint: proxy.endpoint });
    const file = (await list(opened)).at(-1);
    assert.match(file?.state ?? "", /^6291456-[0-9a-f]{32}-\d$/);
    assert.ok(file);
    const injected = proxy.inject({ kind: "short body" }, 2, (method, path) => method === "GET" && path.endsWith("parts/a/2"));
    assert.equal((await opened.source.read(file)).length, 6 * 1024 * 1024);
    assert.equal(injected.count, 2);
  });

  test("a picture that is never read right fails with its name, as a failure that passes", async () => {
    await write("broken/a/1");
    const opened = await openDataset(
      "s3://pictures/broken",
      { ...minio.access, endpoint: proxy.endpoint },
      { clock: { ...systemClock, sleep: async () => undefined }, random: Math.random },
    );
    const [file] = await list(opened);
    assert.ok(file);
    const injected = proxy.inject({ kind: "flipped bit" }, 10, (method, path) => method === "GET" && path.endsWith("broken/a/1"));
    assert.match(await refusal("DATASET_UNREADABLE", () => opened.source.read(file)), /s3:\/\/pictures\/broken\/a\/1: .*md5/);
    assert.equal(injected.count, 10);
  });
});
