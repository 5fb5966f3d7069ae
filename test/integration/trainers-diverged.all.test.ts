import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import type { Engine } from "../../platform/engine/engine.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { openLocal } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { jobOn, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** The engine, but that one bit of the weights flips when the `call`-th gradient is asked for: what a fault of memory would do to one trainer. */
function withFlippedBit(engine: Engine, call: number): { readonly engine: Engine; readonly hasFlipped: () => boolean } {
  let calls = 0;
  const compileGradient: Engine["compileGradient"] = async (trainable, shape) => {
    const gradient = await engine.compileGradient(trainable, shape);
    return {
      run: (input) => {
        const bytes = new Uint8Array(input.parameters.buffer, input.parameters.byteOffset);
        if (++calls === call) bytes[0] = (bytes[0] ?? 0) ^ 1;
        return gradient.run(input);
      },
      release: () => gradient.release(),
    };
  };
  return { engine: Object.assign(Object.create(engine) as Engine, { compileGradient }), hasFlipped: () => calls >= call };
}

test("a flipped bit in one trainer's weights fails the job: nothing is exported", async () => {
  const local = await openLocal(join(folder.path, "store"));
  const job = resolveJob(jobOn(samplePictures(join(folder.path, "pictures"), 13), smallJob, { trainers: 2 }));
  await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const { engine, hasFlipped } = withFlippedBit(await local.engine("onnx"), 61);
  const run = runLocalJob(
    { ...local, engine: async () => engine },
    { job, name: "flipped", out: "out", announce: () => undefined, signal: new AbortController().signal },
  );
  await expect(run).rejects.toMatchObject({
    code: "TRAINERS_DIVERGED",
    message: expect.stringMatching(/weights of trainer \d differ/) as string,
  });
  expect(hasFlipped()).toBe(true);
});
