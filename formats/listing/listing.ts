import assert from "node:assert";
import { Float64, makeData } from "apache-arrow";
import { type ListedPicture, splitNames } from "../../domain/dataset/listing.js";
import { ArrowFile, encodeArrowFile, stringColumn } from "../arrow-file/arrow-file.js";

const format = { name: "listing", version: 1 } as const;

/** A row of a listing is a picture as the scan found it. */
export type ListingRow = ListedPicture;

/** One part of a listing, `jobs/<id>/listing/<n>.arrow`, with columns uri, bytes, state, label and givenSplit (empty where none is given). Equal rows give equal bytes. */
export function encodeListing(rows: readonly ListingRow[]): Uint8Array {
  const bytes = Float64Array.from(rows, (row) => row.bytes);
  assert(bytes.every((count) => Number.isSafeInteger(count) && count >= 0));
  return encodeArrowFile(
    format,
    [],
    [
      stringColumn(
        "uri",
        rows.map((row) => row.uri),
      ),
      { name: "bytes", data: makeData({ type: new Float64(), length: rows.length, nullCount: 0, data: bytes }) },
      stringColumn(
        "state",
        rows.map((row) => row.state),
      ),
      stringColumn(
        "label",
        rows.map((row) => row.label),
      ),
      stringColumn(
        "givenSplit",
        rows.map((row) => row.givenSplit ?? ""),
      ),
    ],
  );
}

/** @throws CodedError OBJECT_CORRUPT for what is not a part of a listing, STORE_FORMAT_NEWER for a newer version */
export function decodeListing(file: Uint8Array): ListingRow[] {
  const arrow = new ArrowFile(file, format);
  const uris = arrow.strings("uri");
  const bytes = arrow.values<Float64Array>("bytes", "Float64", arrow.rows);
  const states = arrow.strings("state");
  const labels = arrow.strings("label");
  const splits = arrow.strings("givenSplit");
  // Thousands of rows share a few labels: each is held once.
  const shared = new Map<string, string>();
  return uris.map((uri, row) => {
    const label = labels[row] as string;
    if (!shared.has(label)) shared.set(label, label);
    const picture = { uri, bytes: bytes[row] as number, state: states[row] as string, label: shared.get(label) as string };
    if (splits[row] === "") return picture;
    const givenSplit = splitNames.find((name) => name === splits[row]);
    return givenSplit === undefined ? arrow.corrupt(`row ${row} has split ${JSON.stringify(splits[row])}`) : { ...picture, givenSplit };
  });
}
