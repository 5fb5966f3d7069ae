import { strict as assert } from "node:assert";
import { CodedError } from "../../../domain/errors.js";
import { createSession, loadRuntime } from "./runtime.js";

/** An exported `model.onnx`: pixels in, probabilities out. */
export interface ExportedModel {
  /** `pixels [rows, size, size, 3]` uint8 RGB; returns `[rows, classes]`, or `[rows, 1]` of a single sigmoid. */
  run(pixels: Uint8Array, rows: number): Promise<Float32Array>;
  release(): Promise<void>;
}

/** @throws CodedError FILE_FORMAT_INVALID for what is not a model of graft; ENGINE_UNAVAILABLE. */
export async function openExportedModel(model: Uint8Array, file: string, size: number): Promise<ExportedModel> {
  const runtime = await loadRuntime();
  const session = await createSession(runtime, model, 0).catch((cause: unknown) => {
    throw new CodedError("FILE_FORMAT_INVALID", `${file}: onnxruntime cannot load it; export the result again`, { file }, cause);
  });
  if (!session.inputNames.includes("images") || !session.outputNames.includes("probabilities")) {
    await session.release();
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${file}: expected input "images" and output "probabilities" as graft exports them, found ${session.inputNames.join(", ")} and ${session.outputNames.join(", ")}`,
    );
  }
  return {
    async run(pixels, rows) {
      assert.equal(pixels.length, rows * size * size * 3);
      const { probabilities } = await session.run({ images: new runtime.Tensor("uint8", pixels, [rows, size, size, 3]) });
      assert(probabilities?.data instanceof Float32Array);
      return probabilities.data;
    },
    release: () => session.release(),
  };
}
