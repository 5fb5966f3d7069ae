import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import type { Metrics } from "../../formats/metrics/metrics.js";
import { decodePassport } from "../../formats/passport/passport.js";
import { SharpImageDecoder } from "../../platform/image-decoder/sharp.js";
import { graft } from "../support/program.js";
import { loadTfjsModel, predictTfjs } from "../support/tfjs.js";

/** A result folder that `graft train --out` or `graft run --out` wrote, read without graft's own readers of models. */
export class Exported {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  read(file: string): Buffer {
    return readFileSync(join(this.folder, file));
  }

  get metrics(): Metrics {
    return JSON.parse(this.read("metrics.json").toString("utf8")) as Metrics;
  }

  get labels(): string[] {
    return this.read("labels.txt").toString("utf8").trimEnd().split("\n");
  }

  /** The pictures as the model wants them: `[pictures, size, size, 3]`. */
  async pixels(pictures: readonly string[]): Promise<Uint8Array> {
    const { preprocessing } = decodePassport(this.read("passport.json")).features;
    const decoder = new SharpImageDecoder();
    const decoded = await Promise.all(
      pictures.map(async (picture) => {
        const result = await decoder.decode(readFileSync(picture), preprocessing);
        if (result.kind === "rejected") throw new Error(`${picture}: ${result.reason}`);
        return result.pixels;
      }),
    );
    return Buffer.concat(decoded);
  }

  /** `[pictures, outputs]` of model.onnx by onnxruntime, all pictures in one call. */
  async byOnnxruntime(pixels: Uint8Array, pictures: number): Promise<number[][]> {
    const session = await ort.InferenceSession.create(this.read("model.onnx"));
    const size = Math.sqrt(pixels.length / pictures / 3);
    const { probabilities } = await session.run({ images: new ort.Tensor("uint8", pixels, [pictures, size, size, 3]) });
    await session.release();
    return rows(probabilities?.data as Float32Array, pictures);
  }

  /** `[pictures, outputs]` of tfjs/ by TensorFlow.js. */
  async byTfjs(pixels: Uint8Array, pictures: number): Promise<number[][]> {
    const model = await loadTfjsModel((file) => this.read(join("tfjs", file)));
    return rows(predictTfjs(model, pictures, pixels), pictures);
  }

  /** Probability of every class of labels.txt for each picture, as `graft predict` says it. */
  async byPredict(pictures: readonly string[]): Promise<number[][]> {
    const { labels } = this;
    const answer = await graft(["predict", this.folder, ...pictures, "--json", "--top", String(labels.length)]);
    return answer
      .trimEnd()
      .split("\n")
      .map((line) => {
        const { predictions } = JSON.parse(line) as { predictions: { label: string; probability: number }[] };
        return labels.map((label) => predictions.find((each) => each.label === label)?.probability ?? Number.NaN);
      });
  }
}

/** Largest difference of two tables of the same shape; NaN where a value is missing. */
export function largestDifference(a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number {
  if (a.length !== b.length || a.some((row, i) => row.length !== b[i]?.length)) return Number.NaN;
  return Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - (b[i]?.[j] ?? Number.NaN)))));
}

function rows(flat: Float32Array, count: number): number[][] {
  const width = flat.length / count;
  return Array.from({ length: count }, (_, row) => Array.from(flat.subarray(row * width, (row + 1) * width)));
}
