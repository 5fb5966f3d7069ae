import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test, vi } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { exerciseObjectStore } from "../../test/conformance/object-store.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { type MinioServer, startMinio } from "../../test/support/minio.js";
import type { S3Access } from "../bucket/bucket.js";
import { connectBucket } from "../bucket/minio.js";
import type { ObjectStore } from "./object-store.js";
import { s3ObjectStore } from "./s3.js";

const isThere = goProgram("minio") !== undefined;
let minio: MinioServer;
let stores = 0;

beforeAll(async () => {
  const started = await startMinio();
  if (started === undefined) return;
  minio = started;
  await minio.makeBucket("store");
});
afterAll(async () => minio?.stop());

function open(prefix: string, access: Partial<S3Access> = {}, bucket = "store"): ObjectStore {
  return s3ObjectStore(connectBucket({ ...minio.access, ...access }, bucket), prefix);
}

async function refusal(operation: Promise<unknown>): Promise<CodedError> {
  const error = await operation.then(
    () => assert.fail("nothing was refused"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof CodedError, String(error));
  return error;
}

describe.skipIf(!isThere)(`S3${isThere ? "" : `: ${withoutProgram("minio")}`}`, () => {
  exerciseObjectStore("S3", async () => {
    const prefix = `conformance/${stores++}`;
    return { store: open(prefix), connect: () => open(prefix) };
  });

  test("a store may be a whole bucket", async () => {
    await minio.makeBucket("whole");
    const store = open("", {}, "whole");
    assert.equal(await store.create("a/b", Buffer.from("x")), "created");
    assert.equal(store.location, "s3://whole");
    const keys = [];
    for await (const key of store.list("")) keys.push(key);
    assert.deepEqual(keys, ["a/b", "graft-store.json"]);
  });

  test("a listing of several pages has every key once, in order", async () => {
    const store = open("pages");
    const keys = Array.from({ length: 2_300 }, (_, index) => `many/${String(index).padStart(5, "0")}`);
    for (let at = 0; at < keys.length; at += 50)
      await Promise.all(keys.slice(at, at + 50).map((key) => store.create(key, new Uint8Array(1))));
    const found = [];
    for await (const key of store.list("many/")) found.push(key);
    assert.deepEqual(found, keys);
  });

  test("a body of 100 MB is one PUT: its ETag is the MD5 of the whole", async () => {
    const store = open("large");
    const body = new Uint8Array(100_000_000).fill(7);
    await store.create("a", body);
    const head = await connectBucket(minio.access, "store").head("large/a");
    assert.match(head?.etag ?? "", /^[0-9a-f]{32}$/);
    assert.equal((await store.read("a"))?.length, body.length);
  });

  test("an address gives the object to who has no keys", async () => {
    const store = open("urls");
    await store.create("a/b", Buffer.from("for you"));
    const response = await fetch((await store.urlOf?.("a/b", 60)) ?? "");
    assert.equal(await response.text(), "for you");
  });

  test("wrong keys, a missing bucket and nobody there are told apart", async () => {
    const wrongSecret = await refusal(open("x", { secretKey: "wrong-secret" }).read("a"));
    assert.equal(wrongSecret.code, "ACCESS_DENIED");
    assert.match(wrongSecret.message, /SignatureDoesNotMatch.*access key test….*secret is right/);
    const wrongKey = await refusal(open("x", { accessKey: "nobody-knows" }).create("a", new Uint8Array(1)));
    assert.equal(wrongKey.code, "ACCESS_DENIED");
    assert.equal(wrongKey.message.includes("nobody-knows"), false);
    const noBucket = await refusal(open("x", {}, "no-such-bucket").read("a"));
    assert.equal(noBucket.code, "STORE_NOT_FOUND");
    assert.match(noBucket.message, /there is no bucket no-such-bucket; make it there/);
    const nobody = await refusal(open("x", { endpoint: "http://127.0.0.1:9" }).read("a"));
    assert.equal(nobody.code, "STORE_UNAVAILABLE");
    assert.match(nobody.message, /ECONNREFUSED/);
    const other = createServer((_, response) => response.writeHead(404).end("404 page not found")).listen(0, "127.0.0.1");
    await once(other, "listening");
    const noStore = await refusal(open("x", { endpoint: `http://127.0.0.1:${(other.address() as AddressInfo).port}` }).read("a"));
    other.closeAllConnections();
    other.close();
    assert.equal(noStore.code, "CONFIG_INVALID");
    assert.match(noStore.message, /no S3-compatible server; check endpoint/);
    const noAddress = await refusal(Promise.resolve().then(() => open("x", { endpoint: "127.0.0.1:9" }).read("a")));
    assert.equal(noAddress.code, "CONFIG_INVALID");
  });

  test("another region than the server's is named", async () => {
    const regional = await startMinio({ MINIO_SITE_REGION: "eu-west-1" });
    assert.ok(regional);
    try {
      const store = s3ObjectStore(connectBucket(regional.access, "store"), "x");
      for (const call of [() => store.read("a"), () => store.create("a", new Uint8Array(1))]) {
        const error = await refusal(call());
        assert.equal(error.code, "CONFIG_INVALID", error.message);
        assert.match(error.message, /eu-west-1.*GRAFT_S3_REGION/);
      }
    } finally {
      await regional.stop();
    }
  });

  test("a clock that is off is named, for reading, writing and looking", async () => {
    for (const [minutes, text] of [
      [20, /the server's clock is 20 minutes behind this machine's/],
      [-20, /the server's clock is 20 minutes ahead of this machine's/],
    ] as const) {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + minutes * 60_000 });
      try {
        const bucket = connectBucket(minio.access, "store");
        const calls = [
          () => bucket.get("a"),
          () => bucket.head("a"),
          () => bucket.put("a", new Uint8Array(1), true),
          () => bucket.list({ prefix: "" }),
        ];
        for (const call of calls) {
          const error = await refusal(call());
          assert.equal(error.code, "ACCESS_DENIED");
          assert.match(error.message, text);
        }
      } finally {
        vi.useRealTimers();
      }
    }
  });

  test("over TLS with a certificate of one's own: bodies of both ways are checked, an unknown certificate is refused", async (context) => {
    const certificates = mkdtempSync(join(tmpdir(), "graft-minio-tls-"));
    const made = spawnSync("openssl", [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
      ...["-keyout", join(certificates, "private.key"), "-out", join(certificates, "public.crt")],
    ]);
    let server: MinioServer | undefined;
    try {
      if (made.status !== 0) return context.skip("needs openssl");
      server = await startMinio({}, { certificates });
      assert.ok(server);
      await server.makeBucket("store");
      const store = s3ObjectStore(connectBucket(server.access, "store"), "tls");
      const body = Buffer.alloc(300_000, "feature ");
      assert.equal(await store.create("a", body), "created");
      assert.equal(await store.create("a", new Uint8Array(1)), "exists");
      assert.equal(Buffer.compare((await store.read("a")) ?? new Uint8Array(0), body), 0);
      const { ca: _ca, ...untrusting } = server.access;
      const error = await refusal(s3ObjectStore(connectBucket(untrusting, "store"), "tls").read("a"));
      assert.match(error.message, /self-signed certificate/);
    } finally {
      await server?.stop();
      rmSync(certificates, { recursive: true });
    }
  });

  test("a full disk is STORE_FULL", async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "graft-minio-full-"));
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]).status === 0;
    let small: MinioServer | undefined;
    try {
      if (!mounted) return context.skip("needs the right to mount a tmpfs");
      small = await startMinio({}, { folder });
      assert.ok(small);
      await small.makeBucket("store");
      const store = s3ObjectStore(connectBucket(small.access, "store"), "full");
      await store.create("small", new Uint8Array(1));
      const error = await refusal(store.create("large", new Uint8Array(80_000_000)));
      assert.equal(error.code, "STORE_FULL", error.message);
      assert.equal((await store.read("small"))?.length, 1);
    } finally {
      await small?.stop();
      if (mounted) spawnSync("umount", [folder]);
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("a frozen server is given up at the deadline", async () => {
    const store = open("frozen", { deadlineMs: 300 });
    await store.create("a", new Uint8Array(1));
    await minio.kill("SIGSTOP");
    try {
      const late = await refusal(store.read("a"));
      assert.equal(late.code, "STORE_UNAVAILABLE");
      assert.match(late.message, /no answer within 300 ms/);
    } finally {
      await minio.kill("SIGCONT");
    }
    assert.equal((await store.read("a"))?.length, 1);
  });

  test("what was stored outlives the server's death", async () => {
    const store = open("killed");
    await store.create("a", Buffer.from("kept"));
    await minio.kill("SIGKILL");
    assert.equal((await refusal(store.read("a"))).code, "STORE_UNAVAILABLE");
    await minio.restart();
    assert.equal(Buffer.from((await store.read("a")) ?? []).toString(), "kept");
  });
});
