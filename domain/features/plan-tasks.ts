import assert from "node:assert";
import { limits } from "../limits.js";
import type { FeatureSpec } from "./feature-spec.js";
import { elementCount, type Shape } from "../network/network.js";

/** A listing of `pictures` pictures cut into `tasks` tasks; every task but the last has `taskPictures` pictures. */
export interface TaskPlan {
  readonly pictures: number;
  readonly tasks: number;
  readonly taskPictures: number;
}

/** Cuts a listing: about `tasksAimedAt` tasks within the bounds of limits.ts. It depends on the number of pictures alone, so every run of a job cuts alike. */
export function planTasks(pictures: number): TaskPlan {
  assert(Number.isSafeInteger(pictures) && pictures >= 0, `a listing of ${pictures} pictures`);
  const aimed = Math.ceil(pictures / limits.tasksAimedAt);
  const taskPictures = Math.min(limits.taskPicturesMax, Math.max(limits.taskPicturesMin, aimed));
  return { pictures, tasks: Math.ceil(pictures / taskPictures), taskPictures };
}

/** Bytes of a value of a feature. */
export function valueBytes(dtype: FeatureSpec["dtype"]): number {
  return dtype === "uint8" ? 1 : Float32Array.BYTES_PER_ELEMENT;
}

/** Rows that one shard may have: min(shardRows, shardBytes / feature bytes), at least one. */
export function shardRowLimit(shape: Shape, bytesPerValue: number): number {
  const bytes = elementCount(shape) * bytesPerValue;
  assert(bytes > 0, `feature of shape [${shape.join(", ")}] has no elements`);
  return Math.max(1, Math.min(limits.shardRows, Math.floor(limits.shardBytes / bytes)));
}
