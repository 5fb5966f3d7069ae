import assert from "node:assert";
import { crc32 } from "node:zlib";
import { Field, FixedSizeBinary, FixedSizeList, Float32, makeData, Uint32, Uint8 } from "apache-arrow";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { shardRowLimit } from "../../domain/features/plan-tasks.js";
import { elementCount, type Shape } from "../../domain/network/network.js";
import type { FeatureArray } from "../../domain/training/grains.js";
import { ArrowFile, encodeArrowFile } from "../arrow-file/arrow-file.js";

/** docs/formats/feature-shard-v1.md describes the file; test/golden/shard-v1-3x4.arrow pins its bytes. */
const format = { name: "feature-shard", version: 1 } as const;

/** Features of one view of some pictures. */
export interface Shard {
  readonly featureSpecDigest: string;
  /** Of one feature, without the batch dimension. */
  readonly shape: Shape;
  readonly view: number;
  /** `[rows, 32]` */
  readonly imageIds: Uint8Array;
  /** `[rows, ...shape]`: activations, or pixels. */
  readonly features: FeatureArray;
}

/** An Arrow IPC file. Equal shards give equal bytes. */
export function encodeShard(shard: Shard): Uint8Array {
  const { featureSpecDigest, shape, view, imageIds, features } = shard;
  const rows = imageIds.length / IMAGE_ID_BYTES;
  const elements = elementCount(shape);
  const rowsMax = shardRowLimit(shape, features.BYTES_PER_ELEMENT);
  assert(Number.isInteger(rows) && rows >= 1 && rows <= rowsMax, `a shard of ${rows} rows; expected 1 to ${rowsMax}`);
  assert(features.length === rows * elements, `a shard of ${rows} rows of [${shape.join(", ")}] with ${features.length} values`);
  assert(Number.isInteger(view) && view >= 0 && view < 2 ** 31);
  const item =
    features instanceof Uint8Array
      ? makeData({ type: new Uint8(), length: features.length, nullCount: 0, data: features })
      : makeData({ type: new Float32(), length: features.length, nullCount: 0, data: features });
  return encodeArrowFile(
    format,
    [
      ["featureSpec", featureSpecDigest],
      ["view", `${view}`],
      ["shape", shape.join(",")],
    ],
    [
      { name: "imageId", data: makeData({ type: new FixedSizeBinary(IMAGE_ID_BYTES), length: rows, nullCount: 0, data: imageIds }) },
      {
        name: "feature",
        data: makeData({
          type: new FixedSizeList(elements, new Field("item", item.type, false)),
          length: rows,
          nullCount: 0,
          child: item,
        }),
      },
      {
        name: "checksum",
        data: makeData({ type: new Uint32(), length: rows, nullCount: 0, data: rowChecksums(imageIds, features) }),
      },
    ],
  );
}

/**
 * The shard in a file's bytes; its arrays are views on `bytes` where those begin at a multiple of eight.
 * @throws CodedError OBJECT_CORRUPT for what is not a whole shard of version 1 with fitting checksums, STORE_FORMAT_NEWER for a newer version.
 */
export function decodeShard(bytes: Uint8Array): Shard {
  const file = new ArrowFile(bytes, format);
  const shapeText = file.text("shape");
  if (!/^[1-9]\d{0,8}(,[1-9]\d{0,8}){0,7}$/.test(shapeText)) file.corrupt(`shape ${JSON.stringify(shapeText)} is not a list of lengths`);
  const shape = shapeText.split(",").map(Number);
  const elements = elementCount(shape);
  const type = file.typeOf("feature");
  const pixels = type === `FixedSizeList[${elements}]<Uint8>`;
  const rowsMax = shardRowLimit(shape, pixels ? 1 : 4);
  if (file.rows < 1 || file.rows > rowsMax) file.corrupt(`${file.rows} rows, expected 1 to ${rowsMax}`);
  const imageIds = file.values<Uint8Array>("imageId", `FixedSizeBinary[${IMAGE_ID_BYTES}]`, file.rows * IMAGE_ID_BYTES);
  const features = pixels
    ? file.listValues<Uint8Array>("feature", type, file.rows * elements)
    : file.listValues<Float32Array>("feature", `FixedSizeList[${elements}]<Float32>`, file.rows * elements);
  const checksums = file.values<Uint32Array>("checksum", "Uint32", file.rows);
  for (const [row, found] of rowChecksums(imageIds, features).entries()) {
    if (found !== checksums[row]) file.corrupt(`row ${row}: checksum ${checksums[row]} is stored, ${found} fits its bytes`);
  }
  return { featureSpecDigest: file.text("featureSpec"), shape, view: file.wholeNumber("view"), imageIds, features };
}

/** CRC-32 (that of zlib) over a row's image id and then its feature's little-endian bytes: it also shows a feature that stands at the wrong id. */
function rowChecksums(imageIds: Uint8Array, features: FeatureArray): Uint32Array {
  const bytes = new Uint8Array(features.buffer, features.byteOffset, features.byteLength);
  const rowBytes = (bytes.length * IMAGE_ID_BYTES) / imageIds.length;
  return Uint32Array.from({ length: imageIds.length / IMAGE_ID_BYTES }, (_, row) =>
    crc32(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), crc32(imageIds.subarray(row * IMAGE_ID_BYTES, (row + 1) * IMAGE_ID_BYTES))),
  );
}
