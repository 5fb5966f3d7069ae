import assert from "node:assert";
import { Binary, FixedSizeBinary, makeData } from "apache-arrow";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { ArrowFile, encodeArrowFile } from "../arrow-file/arrow-file.js";

const format = { name: "thumbnails", version: 1 } as const;

/** Small JPEGs of some pictures. */
export interface Thumbnails {
  /** `[rows, 32]` */
  readonly imageIds: Uint8Array;
  readonly jpegs: readonly Uint8Array[];
}

/** An Arrow IPC file with columns imageId and jpeg. Equal thumbnails give equal bytes. */
export function encodeThumbnails({ imageIds, jpegs }: Thumbnails): Uint8Array {
  assert(imageIds.length === jpegs.length * IMAGE_ID_BYTES && jpegs.length >= 1);
  const offsets = new Int32Array(jpegs.length + 1);
  for (const [row, jpeg] of jpegs.entries()) offsets[row + 1] = (offsets[row] as number) + jpeg.length;
  const data = new Uint8Array(offsets[jpegs.length] as number);
  for (const [row, jpeg] of jpegs.entries()) data.set(jpeg, offsets[row]);
  return encodeArrowFile(
    format,
    [],
    [
      {
        name: "imageId",
        data: makeData({ type: new FixedSizeBinary(IMAGE_ID_BYTES), length: jpegs.length, nullCount: 0, data: imageIds }),
      },
      { name: "jpeg", data: makeData({ type: new Binary(), length: jpegs.length, nullCount: 0, valueOffsets: offsets, data }) },
    ],
  );
}

/** Its arrays are views on `bytes`. @throws CodedError OBJECT_CORRUPT, STORE_FORMAT_NEWER */
export function decodeThumbnails(bytes: Uint8Array): Thumbnails {
  const file = new ArrowFile(bytes, format);
  const imageIds = file.values<Uint8Array>("imageId", `FixedSizeBinary[${IMAGE_ID_BYTES}]`, file.rows * IMAGE_ID_BYTES);
  return { imageIds, jpegs: file.ranges("jpeg", "Binary") };
}
