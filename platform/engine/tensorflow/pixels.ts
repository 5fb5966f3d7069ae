import type { Preprocessing } from "../../../domain/network/preprocessing.js";
import type { Kernels, Value } from "./kernels.js";
import { float32 } from "./layer-run.js";

/** Uploads `[rows, ...shape]`: float32 as it is, uint8 pixels in RGB order cast, put in the backbone's order of channels and normalised by `(pixel - mean) / deviation`. */
export function uploadFeatures(
  kernels: Kernels,
  features: Float32Array | Uint8Array,
  shape: readonly number[],
  preprocessing: Preprocessing | undefined,
): Value {
  const raw = kernels.upload(features, shape);
  if (preprocessing === undefined) return raw;
  const cast = kernels.one("Cast", { SrcT: { type: "uint8" }, DstT: { type: "float32" }, Truncate: false }, [raw], [raw]);
  const ordered = preprocessing.channels === "RGB" ? cast : reversedChannels(kernels, cast);
  const mean = kernels.upload(Float32Array.from(preprocessing.mean), [3]);
  const deviation = kernels.upload(Float32Array.from(preprocessing.deviation), [3]);
  const centred = kernels.one("Sub", float32, [ordered, mean], [ordered, mean]);
  return kernels.one("RealDiv", float32, [centred, deviation], [centred, deviation]);
}

function reversedChannels(kernels: Kernels, picture: Value): Value {
  const axis = kernels.integers([3]);
  return kernels.one("ReverseV2", { ...float32, Tidx: { type: "int32" } }, [picture, axis], [picture, axis]);
}
