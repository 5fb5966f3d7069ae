import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { isSha256Hex } from "../../domain/features/sha256.js";

/** Where the rows of one lane lie, `features/<digest>/lanes/<key>/index.json` (docs/formats/lanes-v1.md). */
export interface LaneIndex {
  readonly rows: number;
  readonly rowBytes: number;
  readonly chunkRows: number;
  /** Every place of the lane stands in exactly one of them. */
  readonly parts: readonly LanePart[];
}

/** An object that holds the features of some rows of a lane, one behind the other. */
export interface LanePart {
  /** Of the object. */
  readonly sha256: string;
  /** Places of its rows in the lane, ascending. */
  readonly places: Uint32Array;
  /** Its rows of each chunk. */
  readonly pieces: readonly LanePiece[];
}

/** What a part holds of one chunk. */
export interface LanePiece {
  readonly chunk: number;
  /** Rows of the part, from … up to, not including, to. */
  readonly from: number;
  readonly to: number;
  /** Of their bytes. */
  readonly sha256: string;
}

/** Rows of a part that belong to one chunk each, in its order. */
export function piecesOf(places: Uint32Array, chunkRows: number): Omit<LanePiece, "sha256">[] {
  const pieces: { chunk: number; from: number; to: number }[] = [];
  places.forEach((place, row) => {
    const chunk = Math.floor(place / chunkRows);
    const last = pieces.at(-1);
    if (last?.chunk === chunk) last.to = row + 1;
    else pieces.push({ chunk, from: row, to: row + 1 });
  });
  return pieces;
}

/** Equal indexes give equal bytes. */
export function encodeLaneIndex({ rows, rowBytes, chunkRows, parts }: LaneIndex): Uint8Array {
  return Buffer.from(
    canonicalJson({
      formatVersion: 1,
      rows,
      rowBytes,
      chunkRows,
      parts: parts.map(({ sha256, places, pieces }) => ({
        sha256,
        places: encodePlaces(places),
        pieces: pieces.map((piece) => piece.sha256),
      })),
    }),
  );
}

/** @throws CodedError OBJECT_CORRUPT naming `key` and what is wrong, STORE_FORMAT_NEWER for a newer version */
export function decodeLaneIndex(bytes: Uint8Array, key: string): LaneIndex {
  const corrupt = (problem: string): CodedError => new CodedError("OBJECT_CORRUPT", `${key}: ${problem}; the lane is made again`, { key });
  let value: Readonly<Record<string, unknown>>;
  try {
    value = (JSON.parse(Buffer.from(bytes).toString("utf8")) ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    throw corrupt("it is not JSON");
  }
  const { formatVersion, rows, rowBytes, chunkRows, parts } = value;
  if (typeof formatVersion === "number" && formatVersion > 1) {
    throw new CodedError("STORE_FORMAT_NEWER", `${key} has version ${formatVersion}; this graft reads version 1. Use a newer graft`, {
      key,
    });
  }
  if (formatVersion !== 1) throw corrupt("formatVersion is not 1");
  if (!isCount(rows) || !isCount(rowBytes) || !isCount(chunkRows) || !Array.isArray(parts)) throw corrupt("it is no index of a lane");
  const seen = new Uint8Array(rows);
  const decoded = parts.map((part: unknown, number): LanePart => {
    const { sha256, places: encoded, pieces: digests } = (part ?? {}) as Readonly<Record<string, unknown>>;
    const places = typeof encoded === "string" ? decodePlaces(encoded) : undefined;
    if (!isSha256Hex(sha256) || places === undefined || !Array.isArray(digests) || !digests.every(isSha256Hex))
      throw corrupt(`part ${number} is none`);
    places.forEach((place, row) => {
      if (place >= rows || seen[place] === 1 || (row > 0 && place <= (places[row - 1] as number)))
        throw corrupt(`part ${number} has place ${place} of ${rows} in row ${row}`);
      seen[place] = 1;
    });
    const pieces = piecesOf(places, chunkRows);
    if (pieces.length !== digests.length) throw corrupt(`part ${number} has ${digests.length} digests for ${pieces.length} pieces`);
    return { sha256, places, pieces: pieces.map((piece, index) => ({ ...piece, sha256: digests[index] as string })) };
  });
  if (seen.includes(0)) throw corrupt(`place ${seen.indexOf(0)} of ${rows} stands in no part`);
  return { rows, rowBytes, chunkRows, parts: decoded };
}

/** Little-endian, whatever the machine. */
function encodePlaces(places: Uint32Array): string {
  const bytes = Buffer.alloc(places.length * 4);
  places.forEach((place, row) => bytes.writeUInt32LE(place, row * 4));
  return bytes.toString("base64");
}

function decodePlaces(text: string): Uint32Array | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.length % 4 === 0 ? Uint32Array.from({ length: bytes.length / 4 }, (_, row) => bytes.readUInt32LE(row * 4)) : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}
