import assert from "node:assert";
import { FixedSizeBinary, Int32, makeData, Uint8 } from "apache-arrow";
import { splitNames } from "../../domain/dataset/listing.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { ArrowFile, encodeArrowFile, stringColumn } from "../arrow-file/arrow-file.js";

const format = { name: "samples", version: 1 } as const;

/** Rows of the sample table, column by column. */
export interface Samples {
  /** `[rows, 32]` */
  readonly imageIds: Uint8Array;
  /** Positions in the classes of `samples/summary.json`. */
  readonly labels: Int32Array;
  /** Positions in `splitNames`: 0 train, 1 validation, 2 test. */
  readonly splits: Uint8Array;
  readonly uris: readonly string[];
}

/** One part of the sample table, `jobs/<id>/samples/<n>.arrow`, with columns imageId, label, split and uri. Equal rows give equal bytes. */
export function encodeSamples({ imageIds, labels, splits, uris }: Samples): Uint8Array {
  const length = uris.length;
  assert(imageIds.length === length * IMAGE_ID_BYTES && labels.length === length && splits.length === length);
  assert(labels.every((label) => label >= 0) && splits.every((split) => split < splitNames.length));
  return encodeArrowFile(
    format,
    [],
    [
      { name: "imageId", data: makeData({ type: new FixedSizeBinary(IMAGE_ID_BYTES), length, nullCount: 0, data: imageIds }) },
      { name: "label", data: makeData({ type: new Int32(), length, nullCount: 0, data: labels }) },
      { name: "split", data: makeData({ type: new Uint8(), length, nullCount: 0, data: splits }) },
      stringColumn("uri", uris),
    ],
  );
}

/** Its number arrays are views on `bytes`. @throws CodedError OBJECT_CORRUPT, STORE_FORMAT_NEWER */
export function decodeSamples(bytes: Uint8Array): Samples {
  const file = new ArrowFile(bytes, format);
  const samples = {
    imageIds: file.values<Uint8Array>("imageId", `FixedSizeBinary[${IMAGE_ID_BYTES}]`, file.rows * IMAGE_ID_BYTES),
    labels: file.values<Int32Array>("label", "Int32", file.rows),
    splits: file.values<Uint8Array>("split", "Uint8", file.rows),
    uris: file.strings("uri"),
  };
  const bad = samples.splits.findIndex((split, row) => split >= splitNames.length || (samples.labels[row] as number) < 0);
  if (bad >= 0) file.corrupt(`row ${bad} has label ${samples.labels[bad]} and split ${samples.splits[bad]}`);
  return samples;
}
