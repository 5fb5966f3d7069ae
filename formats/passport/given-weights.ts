import { CodedError } from "../../domain/errors.js";
import type { GivenWeights } from "../../domain/training/initial-state.js";
import { decodeSafetensors } from "../safetensors/safetensors.js";
import { decodeTrainedWeights, isTrainedWeights } from "./trained-weights.js";

/**
 * Tensors that a training starts from: `weights.safetensors` of a result, whose digest must hold, or any other safetensors file.
 * `from` is for messages.
 * @throws CodedError FILE_FORMAT_INVALID
 */
export function decodeGivenWeights(bytes: Uint8Array, from: string): GivenWeights {
  try {
    if (!isTrainedWeights(bytes)) return { from, tensors: decodeSafetensors(bytes).tensors, origin: undefined };
    const { tensors, backboneDigest, classes } = decodeTrainedWeights(bytes);
    return { from, tensors, origin: { backboneDigest, classes } };
  } catch (cause) {
    if (!(cause instanceof CodedError)) throw cause;
    throw new CodedError(
      cause.code,
      `initial weights from ${from}: ${cause.message}; give the folder of a result or a .safetensors file`,
      {},
      cause,
    );
  }
}
