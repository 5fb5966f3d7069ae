import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { filesystemObjectStore } from "./filesystem.js";

test("on a full disk a write fails with STORE_FULL, leaves nothing half written, and works again once there is room", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "graft-full-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]).status === 0;
  try {
    if (!mounted) return context.skip("needs the right to mount a tmpfs");
    const store = filesystemObjectStore(folder);
    assert.equal(await store.create("features/small", new Uint8Array(2_000_000).fill(1)), "created");
    const full = (error: unknown) => {
      assert.ok(error instanceof CodedError && error.code === "STORE_FULL", String(error));
      assert.match(
        error.message,
        new RegExp(`^store ${folder}: cannot write object features/large: the disk is full \\(\\d+ bytes free\\)`),
      );
      return true;
    };
    await assert.rejects(store.create("features/large", new Uint8Array(2_000_000)), full);
    await assert.rejects(store.put("features/large", new Uint8Array(2_000_000)), full);
    assert.equal(await store.read("features/large"), undefined);
    assert.deepEqual(readdirSync(join(folder, ".tmp")), []);
    assert.equal((await store.read("features/small"))?.length, 2_000_000);
    await store.delete("features/small");
    assert.equal(await store.create("features/large", new Uint8Array(2_000_000)), "created");
  } finally {
    if (mounted) spawnSync("umount", [folder]);
    rmSync(folder, { recursive: true, force: true });
  }
});
