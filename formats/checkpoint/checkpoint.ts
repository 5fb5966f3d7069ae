import { canonicalJson } from "../../domain/canonical-json.js";
import { CodedError } from "../../domain/errors.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { Tensor } from "../../domain/network/network.js";
import { sameShape } from "../../domain/network/shapes.js";
import type { StoppingState } from "../../domain/training/early-stopping.js";
import { tensorsOf, weightsSha256, type ParameterLayout } from "../../domain/training/parameters.js";
import { decodeSafetensors, encodeSafetensors, type SafetensorsFile } from "../safetensors/safetensors.js";

/**
 * All that a training needs to go on from a step. One safetensors file: `parameters/TENSOR`, `slots/SLOT/TENSOR`, `statistics/NAME/TENSOR`, and under the metadata key `graft.checkpoint` canonical JSON
 * with formatVersion, jobId, step, stopping, since, history, weightsSha256, slotsSha256 and sha256, the digest of that JSON without it. So every bit of a checkpoint is covered.
 */
export interface Checkpoint {
  readonly jobId: string;
  /** Updates done; the next step has this number. */
  readonly step: number;
  /** `[layout.length]` */
  readonly parameters: Float32Array;
  /** By slot name (domain/training/optimizer.ts): `[layout.length]` each. */
  readonly slots: ReadonlyMap<string, Float32Array>;
  /** Moving statistics of batch norm, of the state and what else is kept of them: `[statisticsLayout.length]` each. */
  readonly statistics: ReadonlyMap<string, Float32Array>;
  readonly stopping: StoppingState;
  /** Sums over the training rows since the last evaluation. */
  readonly since: { readonly loss: number; readonly correct: number; readonly rows: number };
  /** Evaluations up to here, as JSON, so that a resumed training reports the same curves. */
  readonly history: readonly unknown[];
}

export interface CheckpointLayouts {
  readonly layout: ParameterLayout;
  readonly statisticsLayout: ParameterLayout;
}

export interface ExpectedCheckpoint {
  readonly jobId: string;
  readonly layouts: CheckpointLayouts;
  readonly slots: readonly string[];
  readonly statistics: readonly string[];
}

/** 2: moving statistics. */
const FORMAT_VERSION = 2;
const METADATA_KEY = "graft.checkpoint";

interface Metadata {
  readonly formatVersion: number;
  readonly jobId: string;
  readonly step: number;
  readonly stopping: StoppingState;
  readonly since: Checkpoint["since"];
  readonly history: readonly unknown[];
  readonly weightsSha256: string;
  readonly slotsSha256: string;
}

/** Equal checkpoints have equal bytes. */
export function encodeCheckpoint(checkpoint: Checkpoint, layouts: CheckpointLayouts): Uint8Array {
  const parameters = tensorsOf(layouts.layout, checkpoint.parameters);
  const slots = besideTensors(layouts, checkpoint);
  const metadata: Metadata = {
    formatVersion: FORMAT_VERSION,
    jobId: checkpoint.jobId,
    step: checkpoint.step,
    stopping: checkpoint.stopping,
    since: checkpoint.since,
    history: checkpoint.history,
    weightsSha256: weightsSha256(parameters),
    slotsSha256: weightsSha256(slots),
  };
  const text = canonicalJson({ ...metadata, sha256: sha256Hex(canonicalJson(metadata)) });
  return encodeSafetensors(new Map([...prefixed("parameters/", parameters), ...slots]), new Map([[METADATA_KEY, text]]));
}

/**
 * Reads a checkpoint of a known training and checks every digest, name and shape.
 * @throws CodedError OBJECT_CORRUPT naming what differs; STORE_FORMAT_NEWER for a checkpoint of a later graft.
 */
export function decodeCheckpoint(bytes: Uint8Array, expected: ExpectedCheckpoint): Checkpoint {
  const file = readFile(bytes);
  const metadata = readMetadata(file);
  if (metadata.jobId !== expected.jobId) throw corrupt(`it belongs to job ${metadata.jobId}, not to ${expected.jobId}`);

  const { layout, statisticsLayout } = expected.layouts;
  const parameters = new Float32Array(layout.length);
  const slots = new Map(expected.slots.map((name) => [name, new Float32Array(layout.length)]));
  const statistics = new Map(expected.statistics.map((name) => [name, new Float32Array(statisticsLayout.length)]));
  const beside = besideTensors(expected.layouts, { slots, statistics });
  const targets = new Map([...prefixed("parameters/", tensorsOf(layout, parameters)), ...beside]);
  for (const [name, { shape, data }] of targets) {
    const found = file.tensors.get(name);
    if (found === undefined) throw corrupt(`tensor "${name}" is missing`);
    if (!sameShape(found.shape, shape))
      throw corrupt(`tensor "${name}" has the shape [${found.shape.join(", ")}], expected [${shape.join(", ")}]`);
    data.set(found.data);
  }
  for (const name of file.tensors.keys()) {
    if (!targets.has(name)) throw corrupt(`tensor "${name}" belongs to no part of this training`);
  }
  checkDigest("parameters", metadata.weightsSha256, weightsSha256(tensorsOf(layout, parameters)));
  checkDigest("optimiser state", metadata.slotsSha256, weightsSha256(beside));
  const { jobId, step, stopping, since, history } = metadata;
  return { jobId, step, parameters, slots, statistics, stopping, since, history };
}

function readFile(bytes: Uint8Array): SafetensorsFile {
  try {
    return decodeSafetensors(bytes);
  } catch (cause) {
    if (cause instanceof CodedError && cause.code === "FILE_FORMAT_INVALID") throw corrupt(cause.message, cause);
    throw cause;
  }
}

/** The digest vouches for the JSON's form: only a holder of the format writes a matching one. */
function readMetadata(file: SafetensorsFile): Metadata {
  const text = file.metadata.get(METADATA_KEY);
  if (text === undefined) throw corrupt(`its metadata have no "${METADATA_KEY}"`);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw corrupt("its metadata are no JSON", cause);
  }
  if (json === null || typeof json !== "object" || !("formatVersion" in json) || typeof json.formatVersion !== "number")
    throw corrupt("its metadata have no format version");
  if (json.formatVersion > FORMAT_VERSION) {
    throw new CodedError(
      "STORE_FORMAT_NEWER",
      `checkpoint: format version ${json.formatVersion}, this graft reads up to ${FORMAT_VERSION}; use a newer graft`,
    );
  }
  if (json.formatVersion !== FORMAT_VERSION) throw corrupt(`format version ${json.formatVersion}, expected ${FORMAT_VERSION}`);
  const { sha256: digest, ...metadata } = json as unknown as Metadata & { readonly sha256: unknown };
  checkDigest("metadata", digest, sha256Hex(canonicalJson(metadata)));
  return metadata;
}

/** Slots and statistics under their names in the file. */
function besideTensors(
  { layout, statisticsLayout }: CheckpointLayouts,
  { slots, statistics }: Pick<Checkpoint, "slots" | "statistics">,
): Map<string, Tensor> {
  return new Map([
    ...[...slots].flatMap(([slot, vector]) => prefixed(`slots/${slot}/`, tensorsOf(layout, vector))),
    ...[...statistics].flatMap(([name, vector]) => prefixed(`statistics/${name}/`, tensorsOf(statisticsLayout, vector))),
  ]);
}

function prefixed(prefix: string, tensors: ReadonlyMap<string, Tensor>): [string, Tensor][] {
  return [...tensors].map(([name, tensor]) => [prefix + name, tensor]);
}

function checkDigest(what: string, written: unknown, computed: string): void {
  if (written !== computed) throw corrupt(`the SHA-256 of its ${what} is ${computed}, written is ${String(written)}`);
}

function corrupt(problem: string, cause?: unknown): CodedError {
  return new CodedError("OBJECT_CORRUPT", `checkpoint: ${problem}; delete it, the training goes on from the one before`, {}, cause);
}
