import { createHash } from "node:crypto";
import type { SampleTable } from "./sample-table.js";

/** SHA-256 over classes, image ids, labels and splits of a sample table: what of the dataset shapes the result. Where pictures lie is no part of it. */
export function samplesDigest({ classes, ids, labels, splits }: Pick<SampleTable, "classes" | "ids" | "labels" | "splits">): string {
  return createHash("sha256")
    .update(`${JSON.stringify(classes)}\n${String(splits.length)}\n`)
    .update(ids)
    .update(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength))
    .update(splits)
    .digest("hex");
}
