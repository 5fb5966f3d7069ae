import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { systemError } from "../system-error.js";
import { printable } from "../../domain/job/figures.js";
import { limits } from "../../domain/limits.js";
import { decodePassport } from "../../formats/passport/passport.js";
import { decodeLabels } from "../../formats/passport/labels.js";
import { openExportedModel } from "../../platform/engine/onnx/exported-model.js";
import { SharpImageDecoder } from "../../platform/image-decoder/sharp.js";

export interface PredictFlags {
  readonly top: number;
  readonly json?: boolean;
}

interface Prediction {
  readonly label: string;
  readonly probability: number;
}

/** Classifies each picture; one that cannot be read is reported and the others are still answered (exit code 3 at the end). */
export async function predict(out: string, images: readonly string[], flags: PredictFlags): Promise<void> {
  const passport = decodePassport(await readResult(out, "passport.json"));
  const labels = decodeLabels(new TextDecoder().decode(await readResult(out, "labels.txt")));
  const { preprocessing } = passport.features;
  const model = await openExportedModel(await readResult(out, "model.onnx"), join(out, "model.onnx"), preprocessing.size);
  const decoder = new SharpImageDecoder();
  let failures = 0;
  for (const image of images) {
    try {
      const decoded = await decoder.decode(await readPicture(image), preprocessing);
      if (decoded.kind === "rejected") throw new CodedError("FILE_FORMAT_INVALID", `${image}: ${decoded.reason}`);
      print(image, ranked(labels, await model.run(decoded.pixels, 1)).slice(0, flags.top), flags);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      failures++;
      if (flags.json === true) process.stdout.write(`${JSON.stringify({ image, error: error.message })}\n`);
      else process.stderr.write(`graft: ${printable(error.message)}\n`);
    }
  }
  await model.release();
  if (failures > 0) process.exitCode = 3;
}

/** Classes with falling probability; the two classes of a single sigmoid are 1 - p and p. */
export function ranked(labels: readonly string[], output: Float32Array): Prediction[] {
  const [positive = 0] = output;
  const probabilities = output.length === 1 ? [1 - positive, positive] : [...output];
  return labels.map((label, index) => ({ label, probability: probabilities[index] ?? 0 })).sort((a, b) => b.probability - a.probability);
}

/** Three digits after the point; below a thousandth in scientific notation, so that a small probability is never shown as zero. */
export function formatProbability(probability: number): string {
  return probability >= 0.001 || probability === 0 ? probability.toFixed(3) : probability.toExponential(2);
}

function print(image: string, predictions: readonly Prediction[], { json }: PredictFlags): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify({ image, predictions })}\n`);
    return;
  }
  const shown = predictions.map(({ label, probability }) => ({ label: printable(label), probability }));
  const width = Math.max(...shown.map(({ label }) => label.length));
  const lines = shown.map(({ label, probability }) => `  ${label.padEnd(width)}  ${formatProbability(probability)}`);
  process.stdout.write(`${printable(image)}\n${lines.join("\n")}\n`);
}

async function readResult(out: string, name: string): Promise<Uint8Array> {
  const file = join(out, name);
  return readFile(file).catch((cause: unknown) => {
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${file}: cannot be read (${systemError(cause)}); give the folder that graft train --out wrote`,
      {},
      cause,
    );
  });
}

async function readPicture(image: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(image);
    if (size <= limits.imageBytes) return await readFile(image);
    throw new CodedError("FILE_FORMAT_INVALID", `${image}: expected a picture of at most ${limits.imageBytes} bytes, found ${size}`);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError("DATASET_UNREADABLE", `${image}: cannot be read (${systemError(error)})`, {}, error);
  }
}
