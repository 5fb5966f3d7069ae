import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../domain/errors.js";
import type { HeadLayer } from "../../domain/job/job.js";
import { applyOverrides } from "../../domain/job/override.js";
import type { HeadLayerSpec, JobSpec } from "../../domain/job/spec.js";
import { decodePassport } from "../../formats/passport/passport.js";
import { systemError } from "../system-error.js";

/** The spec of `graft train DIR` and `graft plan DIR`: what the flags say, and with `--from` the network of that result. @throws CodedError USAGE_INVALID, FILE_FORMAT_INVALID */
export async function datasetSpec(source: string, flags: Readonly<Record<string, unknown>>): Promise<JobSpec> {
  const network = typeof flags["from"] === "string" ? await networkOfResult(flags["from"]) : {};
  return applyOverrides({ ...network, dataset: { source } }, flags);
}

/**
 * The network that a finished result was trained on, as the beginning of a spec: backbone, input, cut and head. What is trained then has the tensors that the result has.
 * @throws CodedError USAGE_INVALID where the folder holds no passport, FILE_FORMAT_INVALID
 */
async function networkOfResult(out: string): Promise<JobSpec> {
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
