import { decodeTrainedWeights } from "../passport/trained-weights.js";
import { decodeSafetensors } from "../safetensors/safetensors.js";
import { pairs, parameterTotal, tensorLines } from "./tensors.js";

/** The longest metadata value that is shown whole; a checkpoint keeps much in its own. */
const valueLengthMax = 200;

/** A header that begins with a brace after its length. */
export function isSafetensors(bytes: Uint8Array): boolean {
  if (bytes.length < 10 || bytes[8] !== 0x7b) return false;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true) === 0;
}

export function inspectSafetensors(bytes: Uint8Array): string[] {
  const { tensors, metadata } = decodeSafetensors(bytes);
  // A file that says a digest of its own is held to it.
  const verified =
    metadata.get("format") === "graft-trained-weights" ? `; weightsSha256 ${decodeTrainedWeights(bytes).weightsSha256} holds` : "";
  const shown = [...metadata].map(
    ([key, value]) =>
      [key, value.length > valueLengthMax ? `${value.slice(0, valueLengthMax)}… (${value.length} characters)` : value] as const,
  );
  return [`safetensors: ${tensors.size} tensors, ${parameterTotal(tensors)} values${verified}`, ...pairs(shown), ...tensorLines(tensors)];
}
