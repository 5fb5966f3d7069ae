import { tableFromIPC } from "apache-arrow";
import { splitNames } from "../../domain/dataset/listing.js";
import { CodedError } from "../../domain/errors.js";
import { tensorStatistics } from "../../domain/training/histogram.js";
import { imageIdAt, imageIdCount } from "../../domain/features/image-ids.js";
import { decodeShard } from "../arrow-shard/arrow-shard.js";
import { decodeThumbnails } from "../arrow-shard/thumbnails.js";
import { decodeListing } from "../listing/listing.js";
import { decodeSamples } from "../listing/samples.js";
import { pairs } from "./lines.js";
import { number, shapeText } from "./tensors.js";

/** Rows shown of each file. */
const rowsShown = 5;

const magic = "ARROW1";

export function isArrowFile(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, magic.length)).toString("latin1") === magic;
}

/** @throws CodedError OBJECT_CORRUPT, STORE_FORMAT_NEWER; FILE_FORMAT_INVALID for an Arrow file of another program. */
export function inspectArrow(bytes: Uint8Array): string[] {
  const kind = formatOf(bytes);
  switch (kind) {
    case "feature-shard":
      return shardLines(bytes);
    case "thumbnails": {
      const { imageIds, jpegs } = decodeThumbnails(bytes);
      const total = jpegs.reduce((sum, jpeg) => sum + jpeg.length, 0);
      return [
        `thumbnails: ${jpegs.length} pictures, ${total} bytes of JPEG`,
        ...first(jpegs.length, (row) => `${imageIdAt(imageIds, row)}  ${jpegs[row]?.length} bytes`),
      ];
    }
    case "listing": {
      const rows = decodeListing(bytes);
      return [
        `part of a listing: ${rows.length} pictures`,
        ...first(rows.length, (row) => {
          const found = rows[row];
          return `${found?.label}  ${found?.uri}  ${found?.bytes} bytes`;
        }),
      ];
    }
    case "samples": {
      const { imageIds, labels, splits, uris } = decodeSamples(bytes);
      return [
        `part of a sample table: ${uris.length} pictures`,
        ...pairs(splitNames.map((name, split) => [name, splits.reduce((count, found) => count + (found === split ? 1 : 0), 0)])),
        ...first(uris.length, (row) => `${imageIdAt(imageIds, row)}  class ${labels[row]}  ${splitNames[splits[row] ?? 0]}  ${uris[row]}`),
      ];
    }
    default:
      throw new CodedError(
        "FILE_FORMAT_INVALID",
        `an Arrow file ${kind === undefined ? "without graft.format" : `of the unknown format ${kind}`}; graft did not write it`,
      );
  }
}

function formatOf(bytes: Uint8Array): string | undefined {
  try {
    return tableFromIPC(bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()).schema.metadata.get("graft.format");
  } catch (cause) {
    throw new CodedError("OBJECT_CORRUPT", "an Arrow file that cannot be read; it was cut off or damaged", {}, cause);
  }
}

function shardLines(bytes: Uint8Array): string[] {
  const { featureSpecDigest, shape, view, imageIds, features } = decodeShard(bytes);
  const rows = imageIdCount(imageIds);
  const { mean, deviation, minimum, maximum, nonFinite } = tensorStatistics(Float32Array.from(features));
  return [
    "feature shard, version 1; every checksum holds",
    ...pairs([
      ["feature spec", featureSpecDigest],
      ["view", view],
      ["rows", rows],
      ["feature", `${shapeText(shape)} ${features instanceof Uint8Array ? "uint8" : "float32"}`],
      [
        "values",
        `mean ${number(mean)}, deviation ${number(deviation)}, from ${number(minimum)} to ${number(maximum)}${nonFinite === 0 ? "" : `, ${nonFinite} NOT FINITE`}`,
      ],
    ]),
    ...first(rows, (row) => imageIdAt(imageIds, row)),
  ];
}

function first(rows: number, line: (row: number) => string): string[] {
  const shown = Array.from({ length: Math.min(rows, rowsShown) }, (_, row) => `  ${line(row)}`);
  return rows > rowsShown ? [...shown, `  … ${rows - rowsShown} more`] : shown;
}
