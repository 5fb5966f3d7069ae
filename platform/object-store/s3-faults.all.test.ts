import assert from "node:assert/strict";
import { afterAll, beforeAll, describe, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { type Fault, type FaultyProxy, startFaultyProxy } from "../../test/support/faulty-proxy.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { type MinioServer, startMinio } from "../../test/support/minio.js";
import { systemClock } from "../clock/system.js";
import type { ObjectStore } from "./object-store.js";
import { openObjectStore } from "./open-store.js";

const isThere = goProgram("minio") !== undefined;
const bodyFaults: readonly Fault[] = [{ kind: "stalled body" }, { kind: "cut body" }, { kind: "short body" }, { kind: "flipped bit" }];
const callFaults: readonly Fault[] = [
  { kind: "status", status: 503 },
  { kind: "status", status: 429 },
  { kind: "status", status: 500 },
  { kind: "reset" },
  { kind: "answer lost" },
];
const body = Buffer.alloc(300_000, "feature ");

let minio: MinioServer;
let proxy: FaultyProxy;
let store: ObjectStore;

beforeAll(async () => {
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  await minio.makeBucket("store");
  proxy = await startFaultyProxy(minio.port);
  const access = { ...minio.access, endpoint: proxy.endpoint, deadlineMs: 500 };
  store = await openObjectStore("s3://store/faults", access, { clock: systemClock, random: () => 0 });
  await store.put("a/b", body);
});
afterAll(async () => {
  await proxy?.stop();
  await minio?.stop();
});

const isGetOf = (key: string) => (method: string, path: string) => method === "GET" && path.endsWith(key);
const nameOf = (fault: Fault): string => (fault.kind === "status" ? `an answer ${fault.status}` : `a ${fault.kind}`);

async function failure(operation: Promise<unknown>): Promise<CodedError> {
  const error = await operation.then(
    () => assert.fail("nothing failed"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CodedError, String(error));
  return error;
}

describe.skipIf(!isThere)(`S3 under faults${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  for (const fault of [...callFaults, ...bodyFaults]) {
    test(`a reading goes on after ${nameOf(fault)}, and its bytes are right`, async () => {
      const injected = proxy.inject(fault, 2, isGetOf("a/b"));
      assert.equal(Buffer.compare((await store.read("a/b")) ?? Buffer.alloc(0), body), 0);
      assert.equal(injected.count, 2);
    });
  }

  for (const fault of [...callFaults, bodyFaults[1]!]) {
    test(`ranges, looks, listings, writes and deletes go on after ${nameOf(fault)}`, async () => {
      const injected = proxy.inject(fault, 1, isGetOf("a/b"));
      assert.equal(Buffer.compare((await store.readRange("a/b", 8, 16)) ?? Buffer.alloc(0), Buffer.from("feature ")), 0);
      const listing = proxy.inject(fault, 1, (method, path) => method === "GET" && path.includes("list-type=2"));
      const keys = [];
      for await (const key of store.list("a/")) keys.push(key);
      assert.deepEqual(keys, ["a/b"]);
      assert.deepEqual([injected.count, listing.count], [1, 1]);
      if (bodyFaults.includes(fault)) return;
      for (const [method, operation] of [
        ["HEAD", () => store.stat("a/b")],
        ["PUT", () => store.put("a/c", body)],
        ["DELETE", () => store.delete("a/c")],
      ] as const) {
        const other = proxy.inject(fault, 1, (each) => each === method);
        await operation();
        assert.equal(other.count, 1, method);
      }
    });
  }

  test("a create whose answer is lost says that the object exists, and what stands there is whole", async () => {
    const lost = proxy.inject({ kind: "answer lost" }, 1, (method, path) => method === "PUT" && path.endsWith("once/1"));
    assert.equal(await store.create("once/1", body), "exists");
    assert.equal(lost.count, 1);
    assert.equal(Buffer.compare((await store.read("once/1")) ?? Buffer.alloc(0), body), 0);
  });

  test("an object that is wrong in the store is named and not used; a range of it cannot be told", async () => {
    await store.put("wrong/1", body);
    const flipped = proxy.inject({ kind: "flipped bit" }, 100, isGetOf("wrong/1"));
    const error = await failure(store.read("wrong/1"));
    assert.equal(error.code, "OBJECT_CORRUPT");
    assert.match(error.message, /s3:\/\/store\/faults\/wrong\/1: 3 readings in a row gave the same bytes/);
    assert.equal(flipped.count, 3);
  });

  test("a server that stays away is given up, with the object's name", async () => {
    const away = await openObjectStore(
      "s3://store/faults",
      { ...minio.access, endpoint: proxy.endpoint },
      { clock: { ...systemClock, sleep: async () => undefined }, random: Math.random },
    );
    const injected = proxy.inject({ kind: "status", status: 503 }, 10, isGetOf("away/1"));
    const error = await failure(away.read("away/1"));
    assert.equal(error.code, "STORE_UNAVAILABLE");
    assert.match(error.message, /cannot read object faults\/away\/1: HTTP 503/);
    assert.equal(injected.count, 10);
  });

  test("calls that meet a dead server go on once it is there again", async () => {
    const direct = await openObjectStore("s3://store/faults", minio.access, { clock: systemClock, random: Math.random });
    await minio.kill("SIGKILL");
    const calls = Promise.all([direct.read("a/b"), direct.create("dead/1", body), direct.stat("a/b")]);
    await minio.restart();
    const [read, created, stat] = await calls;
    assert.equal(Buffer.compare(read ?? Buffer.alloc(0), body), 0);
    assert.equal(created, "created");
    assert.equal(stat?.bytes, body.length);
  });

  test("a cut network is noticed at the deadline, and work goes on when it is mended", async () => {
    proxy.cut();
    const before = proxy.heldUp();
    const reading = store.read("a/b");
    await new Promise<void>((resolve) => {
      const look = (): unknown => (proxy.heldUp() >= before + 2 ? resolve() : setImmediate(look));
      look();
    });
    proxy.mend();
    assert.equal(Buffer.compare((await reading) ?? Buffer.alloc(0), body), 0);
  });
});
