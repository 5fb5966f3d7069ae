import { decodeTrainedWeights } from "../passport/trained-weights.js";
import { decodeSafetensors } from "../safetensors/safetensors.js";
import { asObject, parseJson } from "../json/json.js";
import { leaves, pairs, shortened } from "./lines.js";
import { parameterTotal, tensorLines } from "./tensors.js";

/** A header that begins with a brace after its length. */
export function isSafetensors(bytes: Uint8Array): boolean {
  if (bytes.length < 10 || bytes[8] !== 0x7b) return false;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true) === 0;
}

export function inspectSafetensors(bytes: Uint8Array): string[] {
  const { tensors, metadata } = decodeSafetensors(bytes);
  const size = `${tensors.size} tensors, ${parameterTotal(tensors)} values`;
  const checkpoint = metadata.get("graft.checkpoint");
  if (checkpoint !== undefined) {
    const state = asObject(parseJson(checkpoint, "graft.checkpoint"), "graft.checkpoint");
    return [`checkpoint: ${size}`, ...pairs(leaves(state)), ...tensorLines(tensors)];
  }
  // A file that says a digest of its own is held to it.
  const verified =
    metadata.get("format") === "graft-trained-weights" ? `; weightsSha256 ${decodeTrainedWeights(bytes).weightsSha256} holds` : "";
  return [
    `safetensors: ${size}${verified}`,
    ...pairs([...metadata].map(([key, value]) => [key, shortened(value)] as const)),
    ...tensorLines(tensors),
  ];
}
