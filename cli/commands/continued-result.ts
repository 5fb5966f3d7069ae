import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../domain/errors.js";
import type { HeadLayer } from "../../domain/job/job.js";
import type { HeadLayerSpec, JobSpec } from "../../domain/job/spec.js";
import { decodePassport } from "../../formats/passport/passport.js";
import { systemError } from "../system-error.js";

/**
 * The network that a finished result was trained on, as the beginning of a spec: backbone, input, cut and head. What is trained then has the tensors that the result has.
 * @throws CodedError USAGE_INVALID where the folder holds no passport, FILE_FORMAT_INVALID
 */
export async function networkOfResult(out: string): Promise<JobSpec> {
  const path = join(out, "passport.json");
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new CodedError(
      "USAGE_INVALID",
      `--from ${out}: ${path} cannot be read (${systemError(cause)}); give the folder that \`graft train --out\` wrote`,
      {},
      cause,
    );
  }
  const { backbone, spec, cut } = decodePassport(bytes);
  return {
    backbone: { name: backbone.name, digest: backbone.digest, lastLayer: backbone.lastLayer },
    preprocessing: spec.preprocessing,
    cut,
    head: { layers: spec.head.layers.map(layerSpec) },
  };
}

function layerSpec(layer: HeadLayer): HeadLayerSpec {
  return layer.kind === "dropout" ? { dropout: { rate: layer.rate } } : { dense: { units: layer.units, activation: layer.activation } };
}
