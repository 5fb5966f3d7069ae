import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { test } from "vitest";
import { pythonWith, runPython } from "../../test/support/python.js";

const script = fileURLToPath(new URL("../../test/support/read_shard.py", import.meta.url));
const golden = fileURLToPath(new URL("../../test/golden/shard-v1-3x4.arrow", import.meta.url));

test("pyarrow reads a shard, and zlib.crc32 gives its checksums", (context) => {
  const found = pythonWith(["pyarrow"]);
  if ("missing" in found) return context.skip(found.missing);
  assert.deepEqual(JSON.parse(runPython(found.python, script, golden)), {
    columns: [
      "imageId: fixed_size_binary[32] not null",
      "feature: fixed_size_list<item: float not null>[4] not null",
      "checksum: uint32 not null",
    ],
    format: "feature-shard",
    formatVersion: "1",
    rows: 3,
    shape: "4",
    view: "2",
    firstFeature: [0, 1, -1, 0.5],
    checksumsFit: true,
  });
}, 300_000);
