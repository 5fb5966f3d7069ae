import assert from "node:assert";
import { describe, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { buildTopology } from "../network/catalog/catalog.js";
import { activationElements } from "../network/shapes.js";
import { cutBackbone } from "./cut-backbone.js";
import { extractorMemory, type MemoryQuestion, trainerMemory } from "./plan-memory.js";
import { resolveJob } from "./resolve.js";
import type { JobSpec } from "./spec.js";

const counts = { train: [500, 500], validation: [60, 65], test: [65, 60] };

function question(spec: JobSpec = {}, more: Partial<MemoryQuestion> = {}): MemoryQuestion {
  return {
    job: resolveJob({ dataset: { source: "flowers" }, ...spec }),
    network: featureCut([1280]),
    classes: ["daisy", "roses"],
    counts,
    engines: { extraction: "onnx", training: "onnx" },
    backboneParameters: 2_257_984,
    trainersTogether: 1,
    ...more,
  };
}

/** MobileNetV2 trained on pictures or above a layer by tensorflow. */
function convolutional(spec: JobSpec): MemoryQuestion {
  const job = resolveJob({ dataset: { source: "flowers" }, ...spec });
  const network = cutBackbone(job, buildTopology("mobilenet_v2", { width: 1, size: 224 }));
  return question({}, { job, network, engines: { extraction: "onnx", training: "tensorflow" } });
}

describe("trainerMemory", () => {
  const vector = 4 * (1280 * 2 + 2);

  test("the features of every view are held", () => {
    const rows = (spec: JobSpec): number => trainerMemory(question(spec)).features / (4 * 1280);
    assert.deepEqual([rows({}), rows({ views: { count: 3, horizontalFlip: true } })], [1250, 3250]);
    const pixels = trainerMemory(convolutional({ cut: "input" })).features;
    assert.equal(pixels, 1250 * 224 * 224 * 3, "pixels are held as bytes");
  });

  test("slots, best weights and partial gradients are vectors of parameters", () => {
    const vectors = (training: NonNullable<JobSpec["training"]>, engine = "onnx"): number =>
      trainerMemory(question({ training }, { engines: { extraction: "onnx", training: engine } })).parameters / vector;
    const plain = vectors({ optimizer: { sgd: { momentum: 0 } } });
    assert.equal(vectors({ optimizer: { sgd: { momentum: 0.9 } } }) - plain, 1);
    assert.equal(vectors({ optimizer: { adam: {} } }) - plain, 2);
    assert.equal(vectors({ optimizer: { sgd: { momentum: 0 } }, earlyStopping: { patienceEvaluations: 3 } }) - plain, 1);
    const oneGrain = { optimizer: { sgd: { momentum: 0 } }, grains: 1 } as const;
    assert.equal(plain - vectors(oneGrain), 7);
    assert.equal(vectors({ ...oneGrain, grains: 8 }, "tensorflow") - vectors(oneGrain, "tensorflow"), 3);
  });

  test("moving statistics and their best copy are held beside", () => {
    const spec = { cut: "block_15_add", training: { optimizer: { sgd: { momentum: 0 } } } } as const;
    const best = { ...spec, training: { ...spec.training, earlyStopping: { patienceEvaluations: 3 } } };
    // block_16 and Conv_1: 892,485 - 3,843 parameters with two classes, 7,040 moving statistics.
    assert.equal(trainerMemory(convolutional(best)).parameters - trainerMemory(convolutional(spec)).parameters, 4 * (888_642 + 7_040));
  });

  test("tensorflow holds the activations of one grain, onnx of all of a head and of one of a whole network", () => {
    const activations = (engine: string, grains: number): number =>
      trainerMemory(question({ training: { batchSize: 64, grains } }, { engines: { extraction: "onnx", training: engine } })).activations;
    assert.equal(activations("onnx", 1), activations("onnx", 8));
    assert.equal(Math.round(activations("tensorflow", 1) - activations("tensorflow", 8)), Math.round(1.1 * 4 * 1282 * (64 - 8)));

    const ofWhole = (grains: number): number => {
      const whole = convolutional({ cut: "input", training: { batchSize: 32, grains } });
      return trainerMemory({ ...whole, engines: { extraction: "onnx", training: "onnx" } }).activations;
    };
    const perRow = 2 * 4 * activationElements(buildTopology("mobilenet_v2", { width: 1, size: 224, top: undefined }).network);
    assert(Math.abs((ofWhole(1) - ofWhole(8)) / (perRow * (32 - 4)) - 1) < 0.01);
  });

  test("the backbone is held as it is kept and as it is exported", () => {
    const { backbone, total } = trainerMemory(question({}, { backboneParameters: 1_000_000 }));
    assert.equal(backbone, 2 * 4e6);
    assert.equal(total - trainerMemory(question({}, { backboneParameters: 0 })).total, backbone);
  });

  test("trainers of one process share its features", () => {
    const [one, four] = [1, 4].map((trainersTogether) => trainerMemory(question({}, { trainersTogether })));
    assert(one !== undefined && four !== undefined);
    assert.equal(four.total - one.total, 3 * (one.parameters + one.activations));
  });

  test("the files of the result count where they are more than a checkpoint", () => {
    const { files } = trainerMemory(question());
    assert.equal(files, 3 * vector, "featureCut has no frozen weights");
    assert.equal(
      trainerMemory(question({ training: { optimizer: { adam: {} }, earlyStopping: { patienceEvaluations: 3 } } })).files,
      4 * vector,
    );
  });

  test("is what whole runs were measured to take, -10 % to +40 %", () => {
    const flowers = {
      counts: { train: [200, 200, 200, 200, 200], validation: [25, 25, 25, 25, 25], test: [25, 25, 25, 25, 25] },
      classes: ["a", "b", "c", "d", "e"],
    };
    const inception = buildTopology("inception_v3", { width: 1, size: 299 });
    const mixed7 = resolveJob({
      dataset: { source: "horses" },
      backbone: { lastLayer: "mixed7" },
      preprocessing: { size: 150 },
      cut: "mixed7",
      head: { layers: [{ dense: { units: 1024, activation: "RELU" } }] },
      training: { loss: "SIGMOID_CROSS_ENTROPY", batchSize: 20, optimizer: { rmsprop: {} } },
    });
    const runs: [name: string, MemoryQuestion, measured: number][] = [
      ["head on pooled features", question({}, flowers), 256e6],
      [
        "38.5 million parameters on mixed7",
        question(
          {},
          {
            job: mixed7,
            network: cutBackbone(mixed7, inception),
            counts: { train: [500, 527], validation: [128, 128], test: [0, 0] },
            backboneParameters: 21_802_784,
          },
        ),
        1742e6,
      ],
      [
        "last block of MobileNetV2",
        { ...convolutional({ cut: "block_15_add", training: { batchSize: 32, batchNorm: "BATCH" } }), ...flowers },
        1416e6,
      ],
      ["all of MobileNetV2", { ...convolutional({ cut: "input", training: { batchSize: 32, batchNorm: "BATCH" } }), ...flowers }, 1650e6],
    ];
    for (const [name, of, measured] of runs) {
      const { total } = trainerMemory(of);
      assert(total > 0.9 * measured && total < 1.4 * measured, `${name}: ${total} bytes, measured ${measured}`);
    }
  });
});

describe("extractorMemory", () => {
  test("is what extraction was measured to take, -10 % to +40 %", () => {
    const job = resolveJob({ dataset: { source: "flowers" } });
    const needed = extractorMemory(
      question({}, { job, network: cutBackbone(job, buildTopology("mobilenet_v2", { width: 1, size: 224 })) }),
    );
    assert(needed > 0.9 * 355e6 && needed < 1.4 * 355e6, `${needed} bytes`);
  });

  test("grows with the pictures that are decoded ahead, up to a bound", () => {
    const at = (size: number, count: number): number => {
      const job = resolveJob({
        dataset: { source: "flowers" },
        cut: "input",
        preprocessing: { size },
        views: { count, horizontalFlip: true },
      });
      return extractorMemory(question({}, { job, network: cutBackbone(job, buildTopology("mobilenet_v2", { width: 1, size: 224 })) }));
    };
    assert(at(224, 2) > at(128, 2) && at(224, 8) > at(224, 2));
    assert.equal(at(224, 200), at(224, 100));
  });
});
