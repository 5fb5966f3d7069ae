import { describe, expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { trainingShape, type TrainingShape } from "../../domain/training/training-plan.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Engine, GradientInput, GradientShape } from "../../platform/engine/engine.js";
import type { ImageDecoder } from "../../platform/image-decoder/image-decoder.js";
import { featureCut } from "../../test/support/feature-cut.js";
import { probeExtraction, probeStep } from "./probe-speeds.js";

/** An engine whose calls take `callMs` each on a clock that nothing else moves, the first ten times as long. */
function slowEngine(callMs: number) {
  let now = 0;
  const clock: Clock = { now: () => now, monotonic: () => now, sleep: () => Promise.reject(new Error("nobody sleeps")) };
  const seen = { shapes: [] as GradientShape[], inputs: [] as GradientInput[], forwards: 0, released: 0 };
  let calls = 0;
  const take = (): void => {
    now += calls++ === 0 ? 10 * callMs : callMs;
  };
  const pass = (ms: number): void => {
    now += ms;
  };
  const release = async (): Promise<void> => {
    seen.released++;
  };
  const engine = {
    compileGradient: async (_: unknown, shape: GradientShape) => {
      seen.shapes.push(shape);
      const run = async (input: GradientInput) => {
        take();
        seen.inputs.push(input);
        return { loss: 1, correct: 0, gradient: input.gradient, statistics: new Float32Array(0) };
      };
      return { run, release };
    },
    compileForward: async (_network: unknown, _weights: unknown, { batch }: { readonly batch: number }) => {
      const run = async (): Promise<Float32Array> => {
        take();
        seen.forwards++;
        return new Float32Array(0);
      };
      return { batch, run, release };
    },
  } as unknown as Engine;
  return { engine, clock, seen, pass };
}

function shapeOf(features: number, spec: JobSpec = {}): TrainingShape {
  const counts = { train: [50, 50], validation: [5, 5], test: [5, 5] };
  return trainingShape(resolveJob({ dataset: { source: "x" }, ...spec }), featureCut([features]), { classes: ["a", "b"], counts });
}

describe("probeStep", () => {
  test("tries all grains of a dense head in one call, for two seconds after the first", async () => {
    const { engine, clock, seen } = slowEngine(100);
    expect(await probeStep(engine, shapeOf(1280), clock)).toEqual({ value: 100, origin: "probed" });
    expect(seen.shapes).toEqual([{ grainRows: 12, grains: 8 }]);
    expect(seen.inputs.length).toBe(1 + 20);
    expect(seen.released).toBe(1);
  });

  test("tries one grain where activations are large, and counts it as often as a step has it", async () => {
    const { engine, clock, seen } = slowEngine(100);
    const step = await probeStep(engine, shapeOf(1_000_000, { training: { batchSize: 32 } }), clock);
    expect(step).toEqual({ value: 8 * 100, origin: "probed" });
    expect(seen.shapes).toEqual([{ grainRows: 4, grains: 1 }]);
  });

  test("times one call at least, however slow it is", async () => {
    const { engine, clock, seen } = slowEngine(60_000);
    expect((await probeStep(engine, shapeOf(1280), clock)).value).toBe(60_000);
    expect(seen.inputs.length).toBe(2);
  });

  test("gives the engine what a trainer gives it", async () => {
    const { engine, clock, seen } = slowEngine(3_000);
    const shape = shapeOf(20, {
      head: { layers: [{ dropout: { rate: 0.5 } }, { dense: { units: 3 } }] },
      training: { batchSize: 10, grains: 4 },
    });
    await probeStep(engine, shape, clock);
    const [input] = seen.inputs;
    expect(input?.parameters.length).toBe(shape.layout.length);
    expect(input?.features.length).toBe(4 * 3 * 20);
    expect(input?.dropoutMasks.map(({ length }) => length)).toEqual([4 * 3 * 20]);
    expect([...input!.rowWeights].filter((weight) => weight === 1).length).toBe(10);
    expect(new Set(input!.labels)).toEqual(new Set([0, 1]));
    expect(input!.parameters.every((value) => Number.isFinite(value)) && input!.parameters.some((value) => value !== 0)).toBe(true);
  });
});

describe("probeExtraction", () => {
  const job = resolveJob({ dataset: { source: "x" }, views: { count: 2, horizontalFlip: true } });

  function decoderOf(pass: (ms: number) => void, rejects: boolean): ImageDecoder {
    return {
      decodeViews: async (_bytes: Uint8Array, _geometry: unknown, { views }: { readonly views: readonly number[] }) => {
        pass(20);
        return rejects ? { kind: "rejected", reason: "no picture" } : { kind: "decoded", pictures: views.map(() => new Uint8Array(192)) };
      },
      thumbnail: async () => new Uint8Array(1),
    } as unknown as ImageDecoder;
  }

  async function probed(pixels: boolean, { pictures = 4, rejects = false } = {}) {
    const { engine, clock, seen, pass } = slowEngine(50);
    const probe = { job, network: { ...featureCut([192]), pixels }, weights: new Map(), engine, decoder: decoderOf(pass, rejects) };
    const speed = await probeExtraction({ ...probe, pictures: Array.from({ length: pictures }, () => new Uint8Array(9)) }, clock);
    return { speed, seen };
  }

  test("decoding and the frozen network share the cores", async () => {
    const { speed, seen } = await probed(false);
    // 10 ms a view to decode, 50 ms a batch of two views in the network.
    expect(speed).toEqual({ value: 1000 / (10 + 25), origin: "probed" });
    expect([seen.forwards, seen.released]).toEqual([1 + 20, 1]);
  });

  test("pictures themselves are only decoded", async () => {
    const { speed, seen } = await probed(true);
    expect(speed).toEqual({ value: 100, origin: "probed" });
    expect(seen.forwards).toBe(0);
  });

  test("tells nothing without a picture that can be decoded", async () => {
    expect((await probed(false, { pictures: 0 })).speed).toBeUndefined();
    expect((await probed(false, { rejects: true })).speed).toBeUndefined();
  });
});
