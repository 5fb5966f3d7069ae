import { CodedError } from "../../domain/errors.js";
import { printable } from "../../domain/job/figures.js";
import { isObject, parseJson } from "../json/json.js";
import { isArrowFile, inspectArrow } from "./arrow.js";
import { inspectEvents, isEventFile } from "./events.js";
import { inspectJson } from "./json.js";
import { inspectOnnx, isOnnx } from "./onnx.js";
import { inspectSafetensors, isSafetensors } from "./safetensors.js";

/**
 * What a file of graft holds, as text for people, each line ended. The kind is found by content; the name only helps where contents are alike.
 * @throws CodedError FILE_FORMAT_INVALID for a file of no known kind or a damaged one; STORE_FORMAT_NEWER for one of a newer graft.
 */
export function inspect(bytes: Uint8Array, fileName: string): string {
  if (bytes.length === 0) throw unknownKind(fileName, "it is empty");
  const lines = linesOf(bytes, fileName);
  return `${[`${bytes.length} bytes`, ...lines].map(printable).join("\n")}\n`;
}

function linesOf(bytes: Uint8Array, fileName: string): readonly string[] {
  if (isArrowFile(bytes)) return damageIsFormat(() => inspectArrow(bytes));
  if (isSafetensors(bytes)) return inspectSafetensors(bytes);
  if (isEventFile(bytes)) return inspectEvents(bytes);
  if (bytes[0] === 0x7b) {
    const value = parseJson(bytes, fileName);
    if (isObject(value)) return inspectJson(value, bytes);
  }
  if (isOnnx(bytes)) return inspectOnnx(bytes);
  throw unknownKind(fileName, "its content is of none of these kinds");
}

function unknownKind(fileName: string, why: string): CodedError {
  return new CodedError(
    "FILE_FORMAT_INVALID",
    `${fileName}: ${why}; graft inspects feature shards and its other Arrow files, safetensors (weights, checkpoints), model.onnx, TensorFlow.js model.json, passport.json, metrics.json and TensorBoard event files`,
  );
}

/** A store calls a damaged object OBJECT_CORRUPT and makes it again; a file that a user names is just damaged. */
function damageIsFormat<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CodedError && error.code === "OBJECT_CORRUPT")
      throw new CodedError("FILE_FORMAT_INVALID", error.message, error.details, error);
    throw error;
  }
}
