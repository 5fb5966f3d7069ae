import assert from "node:assert/strict";
import { test } from "vitest";
import { connectBucket } from "../../platform/bucket/minio.js";
import { s3ObjectStore } from "../../platform/object-store/s3.js";
import { exerciseGarbage } from "../../test/support/garbage.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { startMinio } from "../../test/support/minio.js";

const isThere = goProgram("minio") !== undefined;

test.skipIf(!isThere)(
  `gc on MinIO deletes what nothing needs and keeps the rest${isThere ? "" : `: ${withoutProgram("minio")}`}`,
  async () => {
    const minio = await startMinio();
    assert.ok(minio);
    try {
      await minio.makeBucket("store");
      await exerciseGarbage(s3ObjectStore(connectBucket(minio.access, "store"), "graft"), () => Date.now());
    } finally {
      await minio.stop();
    }
  },
);
