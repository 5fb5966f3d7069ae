import { rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { cutBackbone } from "../domain/job/cut-backbone.js";
import { defaults } from "../domain/job/defaults.js";
import { limits } from "../domain/limits.js";
import { foldBatchNorm } from "../domain/network/fold-batch-norm.js";
import { encodeOnnx } from "../formats/onnx/encode-network.js";
import { readBundledBackbone } from "../platform/backbone-store/bundled.js";
import { type Figure, type Measure, median } from "./figure.js";
import { runJob, runPeer } from "./process.js";

/**
 * D: a bare sharp loop over the pictures. F: a bare onnxruntime session on the network. Graft decodes and runs the network at the same time on the same cores, so that
 * 1 / (1/D + 1/F) is what it could reach if all else cost nothing. The three take turns, so that other load on the machine hits all of them.
 */
export const measureExtraction: Measure = async ({ pictures, rounds, temporary }, say) => {
  const model = join(temporary, "network.onnx");
  writeFileSync(model, await encodeFrozenNetwork());
  const store = join(temporary, "extraction-store");
  const rates = { decode: [] as number[], forward: [] as number[], graft: [] as number[] };
  let images = 0;
  for (let round = 0; round < rounds; round++) {
    rates.decode.push(await runPeer("decode.mjs", [pictures]));
    rates.forward.push(await runPeer("forward.mjs", [model, String(limits.forwardBatch), "800"]));
    const { metrics } = await runJob(["train", pictures, "--steps", "1", "--store", store, "--out", join(temporary, "extraction-out")]);
    rmSync(store, { recursive: true });
    images = metrics.extraction.extracted;
    rates.graft.push(metrics.extraction.imagesPerSecond ?? NaN);
    const [decode, forward, graft] = [rates.decode, rates.forward, rates.graft].map((list) => list.at(-1)!.toFixed(0));
    say(`extraction, round ${round + 1} of ${rounds}: D ${decode}, F ${forward}, graft ${graft} images/s`);
  }
  const [decode, forward, graft] = [median(rates.decode), median(rates.forward), median(rates.graft)];
  const note = `${images} pictures, ${availableParallelism()} cores, median of ${rounds}`;
  const figures: Figure[] = [
    { row: "extraction", name: "D: bare sharp loop", value: decode, unit: "images/s", note },
    { row: "extraction", name: "F: bare onnxruntime session", value: forward, unit: "images/s", note: `batches of ${limits.forwardBatch}` },
    { row: "extraction", name: "graft", value: graft, unit: "images/s", wanted: { atLeast: 150 }, note },
    { row: "extraction", name: "graft / (1 / (1/D + 1/F))", value: graft * (1 / decode + 1 / forward), unit: "", wanted: { atLeast: 0.9 } },
  ];
  return figures;
};

/** The network that a default job runs on every picture, as graft's engine compiles it. */
async function encodeFrozenNetwork(): Promise<Uint8Array> {
  const { backbone } = await readBundledBackbone(defaults.backbone);
  const { prefix, preprocessing } = cutBackbone({ cut: undefined, preprocessing: {} }, backbone);
  const { network, weights } = foldBatchNorm(prefix, backbone.weights);
  return encodeOnnx(network, weights, { batch: limits.forwardBatch, inputName: "input", outputName: "output", preprocessing });
}
