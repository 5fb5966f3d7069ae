import assert from "node:assert";
import { describe, expect, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { cutBackbone } from "./cut-backbone.js";
import { planJob, type PlanInputs } from "./plan.js";
import { trainerMemory, type MemoryQuestion } from "./plan-memory.js";
import { trainerProposals } from "./plan-proposals.js";
import { resolveJob } from "./resolve.js";
import type { JobSpec } from "./spec.js";

const counts = { train: [500, 500], validation: [60, 65], test: [65, 60] };

function question(spec: JobSpec, more: Partial<MemoryQuestion> = {}): MemoryQuestion {
  const job = resolveJob({ dataset: { source: "flowers" }, ...spec });
  return {
    job,
    network: cutBackbone(job, buildTopology("mobilenet_v2", { width: 1, size: 224 })),
    classes: ["daisy", "roses"],
    counts,
    engines: { extraction: "onnx", training: "tensorflow" },
    backboneParameters: 2_257_984,
    trainersTogether: 1,
    ...more,
  };
}

/** What a trainer needs with the spec that a proposal means. */
function bytesWith(spec: JobSpec, more: Partial<MemoryQuestion> = {}): number {
  return trainerMemory(question(spec, more)).total;
}

const changesOf = (of: MemoryQuestion, memoryBytes: number): string[] => trainerProposals(of, memoryBytes).map(({ change }) => change);

describe("too large activations", () => {
  const training = { batchSize: 256, grains: 2 };
  const spec: JobSpec = { cut: "input", training };
  const memory = 4e9;

  test("more grains and a smaller batch, the smallest change that fits", () => {
    assert(bytesWith(spec) > memory);
    const proposals = trainerProposals(question(spec), memory);
    const of = (begin: string): number | undefined => proposals.find(({ change }) => change.startsWith(begin))?.bytes;
    assert.deepEqual(changesOf(question(spec), memory).slice(0, 2), ["training.grains: 16", "training.batchSize: 32"]);
    assert.equal(of("training.grains: 16"), bytesWith({ ...spec, training: { ...training, grains: 16 } }));
    assert(bytesWith({ ...spec, training: { ...training, grains: 8 } }) > memory, "half as many would not do");
    assert.equal(of("training.batchSize: 32"), bytesWith({ ...spec, training: { ...training, batchSize: 32 } }));
    assert(bytesWith({ ...spec, training: { ...training, batchSize: 64 } }) > memory, "twice as many would not do");
  });

  test("a later cut and smaller pictures, the nearest", () => {
    const changes = changesOf(question(spec), memory);
    const cut = changes.find((change) => change.startsWith("cut: "))?.slice("cut: ".length);
    const size = Number(changes.find((change) => change.startsWith("preprocessing.size: "))?.slice("preprocessing.size: ".length));
    assert(cut !== undefined && bytesWith({ ...spec, cut }) <= memory);
    assert(
      size % 32 === 0 &&
        bytesWith({ ...spec, preprocessing: { size } }) <= memory &&
        bytesWith({ ...spec, preprocessing: { size: size + 32 } }) > memory,
    );
  });

  test("where the features of a batch take the memory more grains are no help", () => {
    const wide = featureCut([200_000]);
    const of = question(
      { training: { batchSize: 8192, grains: 8 } },
      { network: wide, engines: { extraction: "onnx", training: "onnx" }, counts: { train: [50, 50], validation: [1, 1], test: [1, 1] } },
    );
    const changes = changesOf(of, 4e9);
    assert.deepEqual(
      changes.filter((change) => change.startsWith("training.")),
      ["training.batchSize: 2048"],
    );
  });
});

describe("too many features", () => {
  const many = { train: [20_000, 20_000], validation: [100, 100], test: [100, 100] };

  test("streaming, fewer views, a later cut, smaller pictures", () => {
    const spec: JobSpec = { cut: "block_3_expand", views: { count: 4, horizontalFlip: true }, training: { batchSize: 8 } };
    const of = question(spec, { counts: { train: [200, 200], validation: [100, 100], test: [100, 100] } });
    const memory = 3.5e9;
    const proposals = trainerProposals(of, memory);
    assert.deepEqual(
      proposals.map(({ change }) => change.split(":")[0]),
      ["training.featureMemoryMib", "views.count", "cut", "preprocessing.size", "400 pictures"],
    );
    assert(proposals.every(({ bytes }) => bytes <= memory));
    const views = Number(proposals[1]?.change.slice("views.count: ".length));
    assert.equal(proposals[1]?.bytes, trainerMemory({ ...of, job: { ...of.job, views: { ...of.job.views, count: views } } }).total);
    assert(trainerMemory({ ...of, job: { ...of.job, views: { ...of.job.views, count: views + 1 } } }).total > memory);
  });

  test("streaming or fewer pictures where nothing else is left to change", () => {
    const of = question(
      { cut: "global_average_pool", training: { featureMemoryMib: 16_384 } },
      { counts: many, network: featureCut([100_000]), engines: { extraction: "onnx", training: "onnx" } },
    );
    assert.deepEqual(changesOf(of, 8e9), ["training.featureMemoryMib: 4096", "16,160 pictures"]);
  });
});

test("too many parameters: narrower layers, smaller pictures", () => {
  const spec = {
    backbone: { lastLayer: "block_12_add" },
    cut: "block_12_add",
    head: { layers: [{ dense: { units: 4000 } }, { dense: { units: 10 } }] },
  };
  const onnx = { engines: { extraction: "onnx", training: "onnx" } };
  const memory = 1e9;
  const proposals = trainerProposals(question(spec, onnx), memory);
  assert.deepEqual(
    proposals.map(({ change }) => change),
    ["at most 256 units in head.layers", "preprocessing.size: 64"],
  );
  const narrower = { ...spec, head: { layers: [{ dense: { units: 256 } }, { dense: { units: 10 } }] } };
  assert.deepEqual(
    proposals.map(({ bytes }) => bytes),
    [bytesWith(narrower, onnx), bytesWith({ ...spec, preprocessing: { size: 64 } }, onnx)],
  );
});

test("nothing is proposed that is not enough", () => {
  assert.deepEqual(trainerProposals(question({ cut: "global_average_pool" }), 100e6), []);
});

test("the obstacle says what takes memory and what would fit", () => {
  const { job, network } = question({ cut: "input", training: { batchSize: 256, grains: 2 } });
  const inputs: PlanInputs = {
    job,
    network,
    pictures: 1250,
    classes: ["daisy", "roses"],
    counts,
    exact: true,
    cached: 0,
    backbone: { name: "mobilenet_v2_1.0_224", digest: "0123456789abcdef", parameters: 2_257_984 },
    engines: { extraction: "onnx", training: "tensorflow" },
    memoryBytes: 4e9,
    local: true,
  };
  const [obstacle] = planJob(inputs).obstacles;
  expect(obstacle?.code).toBe("JOB_TOO_LARGE");
  expect(obstacle?.message).toMatch(
    /^a trainer needs about 1\d\.\d GB of memory \(activations 1\d\.\d GB, process 520 MB, .*\), there are 4\.00 GB; it fits with training\.grains: 16 \(about 3\.\d\d GB\), training\.batchSize: 32 \(about 3\.\d\d GB\), .*, or use a machine with more memory$/,
  );
});
