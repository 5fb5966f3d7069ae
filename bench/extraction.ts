import { rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { cutBackbone } from "../domain/job/cut-backbone.js";
import { resolveJob } from "../domain/job/resolve.js";
import { defaults } from "../domain/job/defaults.js";
import { limits } from "../domain/limits.js";
import { foldBatchNorm } from "../domain/network/fold-batch-norm.js";
import { encodeOnnx } from "../formats/onnx/encode-network.js";
import { readBundledBackbone } from "../platform/backbone-store/bundled.js";
import { type Figure, type Measure, median } from "./figure.js";
import { type PeerFigures, runJob, runPeer } from "./process.js";

/**
 * D: a bare sharp loop over the pictures. F: a bare onnxruntime session on the network. Graft decodes and runs the network at the same time on the same cores, so that
 * 1 / (1/D + 1/F) is what it could reach if all else cost nothing. The three take turns, so that other load on the machine hits all of them; what they take of the CPU is compared
 * too, since it suffers least from that.
 */
export const measureExtraction: Measure = async ({ pictures, rounds, temporary }, say) => {
  const model = join(temporary, "network.onnx");
  writeFileSync(model, await encodeFrozenNetwork());
  const measured: { readonly decode: PeerFigures; readonly forward: PeerFigures; readonly graft: PeerFigures }[] = [];
  let images = 0;
  for (let round = 0; round < rounds; round++) {
    const decode = await runPeer("decode.mjs", [pictures]);
    const forward = await runPeer("forward.mjs", [model, String(limits.forwardBatch), "800"]);
    const extracted = await extract(pictures, temporary);
    images = extracted.images;
    measured.push({ decode, forward, graft: extracted });
    const [d, f, graft] = [decode, forward, extracted].map(({ imagesPerSecond }) => imagesPerSecond.toFixed(0));
    say(`extraction, round ${round + 1} of ${rounds}: D ${d}, F ${f}, graft ${graft} images/s`);
  }
  const rate = (of: "decode" | "forward" | "graft"): number => median(measured.map((round) => round[of].imagesPerSecond));
  const cpu = (of: "decode" | "forward" | "graft"): number => median(measured.map((round) => round[of].cpuMilliseconds));
  const ratio = median(
    measured.map(({ decode, forward, graft }) => graft.imagesPerSecond * (1 / decode.imagesPerSecond + 1 / forward.imagesPerSecond)),
  );
  const cpuRatio = median(
    measured.map(({ decode, forward, graft }) => (decode.cpuMilliseconds + forward.cpuMilliseconds) / graft.cpuMilliseconds),
  );
  const note = (of: "decode" | "forward" | "graft", text: string): string => `${cpu(of).toFixed(1)} ms of CPU an image; ${text}`;
  const figures: Figure[] = [
    {
      row: "extraction",
      name: "D: bare sharp loop",
      value: rate("decode"),
      unit: "images/s",
      note: note("decode", `${images} pictures, ${availableParallelism()} cores`),
    },
    {
      row: "extraction",
      name: "F: bare onnxruntime session",
      value: rate("forward"),
      unit: "images/s",
      note: note("forward", `batches of ${limits.forwardBatch}`),
    },
    {
      row: "extraction",
      name: "graft",
      value: rate("graft"),
      unit: "images/s",
      wanted: { atLeast: 150 },
      note: note("graft", `medians of ${rounds} rounds`),
    },
    {
      row: "extraction",
      name: "graft / (1 / (1/D + 1/F))",
      value: ratio,
      unit: "",
      wanted: { atLeast: 0.9 },
      note: "median of the rounds' ratios",
    },
    { row: "extraction", name: "(CPU of D + CPU of F) / CPU of graft", value: cpuRatio, unit: "", note: "median of the rounds' ratios" },
  ];
  return figures;
};

/** Extracts all pictures anew. What the rest of the command takes of the CPU is told by running it again, with nothing to extract. */
async function extract(pictures: string, temporary: string): Promise<PeerFigures & { readonly images: number }> {
  const store = join(temporary, "extraction-store");
  const args = ["train", pictures, "--steps", "1", "--store", store, "--out", join(temporary, "extraction-out")];
  const fresh = await runJob(args);
  const kept = await runJob(args);
  rmSync(store, { recursive: true });
  const { extracted, imagesPerSecond } = fresh.metrics.extraction;
  return {
    images: extracted,
    imagesPerSecond: imagesPerSecond ?? NaN,
    cpuMilliseconds: ((fresh.cpuSeconds - kept.cpuSeconds) * 1000) / extracted,
  };
}

/** The network that a default job runs on every picture, as graft's engine compiles it. */
async function encodeFrozenNetwork(): Promise<Uint8Array> {
  const { backbone } = await readBundledBackbone(defaults.backbone);
  const { prefix, preprocessing } = cutBackbone(resolveJob({ dataset: { source: "bench" } }), backbone);
  const { network, weights } = foldBatchNorm(prefix, backbone.weights);
  return encodeOnnx(network, weights, { batch: limits.forwardBatch, inputName: "input", outputName: "output", preprocessing });
}
