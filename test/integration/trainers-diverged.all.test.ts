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

/** An engine that flips one bit of the weights of whoever asks for the `call`-th gradient: what a fault of memory would do to one trainer. */
function withFlippedBit(engine: Engine, call: number): { readonly engine: Engine; readonly flipped: () => boolean } {
  let calls = 0;
  return {
    flipped: () => calls >= call,
    engine: {
      ...engine,
      async compileGradient(...shape: Parameters<Engine["compileGradient"]>) {
        const gradient = await engine.compileGradient(...shape);
        return {
          run(input) {
            if (++calls === call) new Uint8Array(input.parameters.buffer, input.parameters.byteOffset)[0]! ^= 1;
            return gradient.run(input);
          },
          release: () => gradient.release(),
        };
      },
    } as Engine,
  };
}

test("a flipped bit in one trainer's weights fails the job: nothing is exported", async () => {
  const local = await openLocal(join(folder.path, "store"));
  const job = resolveJob(jobOn(samplePictures(join(folder.path, "pictures"), 13), smallJob, { trainers: 2 }));
  await findOrAddBackbone(local.backbones, job.backbone.name, job.backbone.digest);
  const onnx = await local.engine("onnx");
  // Methods of a class are not copied by a spread.
  const whole = Object.assign(Object.create(Object.getPrototypeOf(onnx) as object), onnx) as Engine;
  const faulty = withFlippedBit(whole, 61);
  const engine = Object.assign(Object.create(whole) as Engine, { compileGradient: faulty.engine.compileGradient });
  const run = runLocalJob(
    { ...local, engine: async () => engine },
    { job, name: "flipped", out: "out", announce: () => undefined, signal: new AbortController().signal },
  );
  await expect(run).rejects.toMatchObject({
    code: "TRAINERS_DIVERGED",
    message: expect.stringMatching(/weights of trainer \d differ/) as string,
  });
  expect(faulty.flipped()).toBe(true);
});
