import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { systemClock } from "../../platform/clock/system.js";
import { uploadTo } from "../../platform/dataset-source/open-dataset.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { type MinioServer, startMinio } from "../support/minio.js";
import { graft, runGraft } from "../support/program.js";

const isThere = goProgram("minio") !== undefined;
const pictures = join(import.meta.dirname, "../../samples/flowers");
const recipe = ["--backbone", "mobilenet_v2_0.35_224", "--steps", "30", "--json"];
const variables = ["GRAFT_S3_ENDPOINT", "GRAFT_S3_ACCESS_KEY", "GRAFT_S3_SECRET_KEY"] as const;

let minio: MinioServer;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "graft-s3-"));
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  for (const name of ["store", "pictures"]) await minio.makeBucket(name);
  setAccess(minio.access.secretKey);
  await uploadTo(pictures, "s3://pictures/flowers", minio.access, { clock: systemClock, random: Math.random }, () => undefined);
});
afterAll(async () => {
  for (const name of variables) Reflect.deleteProperty(process.env, name);
  await minio?.stop();
  rmSync(folder, { recursive: true });
});

function setAccess(secretKey: string): void {
  const { endpoint, accessKey } = minio.access;
  const values = [endpoint, accessKey, secretKey];
  for (const [index, name] of variables.entries()) process.env[name] = values[index];
}

interface Metrics {
  readonly weightsSha256: string;
  readonly extraction: { readonly extracted: number; readonly cached: number };
}

async function train(source: string, store: string, out: string): Promise<Metrics> {
  const stdout = await graft(["train", source, "--store", store, "--out", join(folder, out), ...recipe]);
  return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") as Metrics;
}

describe.skipIf(!isThere)(`graft with store and pictures in buckets${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  test("a job has the bits that it has with folders, and a second one extracts nothing", async () => {
    const local = await train(pictures, join(folder, "store"), "local");
    const remote = await train("s3://pictures/flowers/", "s3://store/graft", "remote");
    assert.equal(remote.weightsSha256, local.weightsSha256);
    assert.equal(remote.extraction.extracted, local.extraction.extracted);
    const again = await train("s3://pictures/flowers", "s3://store/graft", "again");
    assert.deepEqual([again.weightsSha256, again.extraction.extracted], [local.weightsSha256, 0]);
    const plan = JSON.parse(
      await graft(["plan", "s3://pictures/flowers", "--store", "s3://store/graft", "--json", "--no-probe", ...recipe.slice(0, 2)]),
    ) as {
      readonly extraction: { readonly toExtract: { readonly value: number; readonly exact?: boolean } };
    };
    assert.equal(plan.extraction.toExtract.value, 0, "the identities in the store know every picture");
  });

  test("backbones are added to a bucket and listed from it", async () => {
    const store = ["--store", "s3://store/graft"];
    await graft(["backbone", "add", "--untrained", "--topology", "resnet18_v2_224", "--name", "mine", ...store]);
    assert.match(await graft(["backbone", "list", ...store]), /mine +\S+ +store/);
    assert.match(await graft(["backbone", "show", "mine", ...store]), /mine/);
    assert.equal((await graft(["backbone", "list", "--store", join(folder, "empty")])).includes("mine"), false);
  });

  test("doctor tries the store and says which guarantees hold", async () => {
    const lines = (await graft(["doctor", "--store", "s3://store/graft", "--json"]))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { readonly check: string; readonly ok: boolean });
    const ofStore = lines.filter(({ check }) => check.startsWith("store"));
    assert.equal(ofStore.length, 9);
    assert.deepEqual(
      ofStore.filter(({ ok }) => !ok),
      [],
    );
    const missing = await runGraft(["doctor", "--store", "s3://no-such-bucket", "--json"]);
    assert.equal(missing.exitCode, 1);
    assert.match(missing.stdout, /STORE_NOT_FOUND.*there is no bucket no-such-bucket/);
  });

  test("gc says what it would delete and keeps what is young", async () => {
    assert.match(
      await graft(["gc", "--dry-run", "--store", "s3://store/graft"]),
      /^would delete 0 objects, 0 B from s3:\/\/store\/graft$/m,
    );
  });

  test("wrong keys, half of the keys and a bucket that is missing end with their codes", async () => {
    const args = ["train", "s3://pictures/flowers", "--store", join(folder, "store"), "--out", join(folder, "none")];
    const bucket = await runGraft(["train", "s3://no-such-bucket/x", ...args.slice(2)]);
    assert.equal(bucket.exitCode, 3);
    assert.match(bucket.stderr, /there is no bucket no-such-bucket.*\[DATASET_NOT_FOUND\]/);
    setAccess("wrong");
    try {
      const keys = await runGraft(args);
      assert.equal(keys.exitCode, 6);
      assert.match(keys.stderr, /refuses the keys.*\[ACCESS_DENIED\]/);
      setAccess("");
      const half = await runGraft(args);
      assert.equal(half.exitCode, 2);
      assert.match(half.stderr, /found no GRAFT_S3_SECRET_KEY; set all three \[CONFIG_INVALID\]/);
    } finally {
      setAccess(minio.access.secretKey);
    }
  });
});
