import type { Network } from "../network/network.js";
import { activationElements, multiplyAddsPerImage, parameterCount } from "../network/shapes.js";
import type { EngineName } from "../training/trainable-layers.js";

/** A rate and where it comes from. */
export interface Speed {
  readonly value: number;
  /** measured: by an earlier run on this store. probed: a short trial just now. assumed: from the network, by the tables below. */
  readonly origin: "measured" | "probed" | "assumed";
}

/** Speed of an engine on two cores of a server of 2024, for a plan that nothing was measured for. */
interface EngineSpeed {
  /** Frozen networks: multiply-adds a second. MobileNetV2 at 224 pixels (0.3 G) runs 300 times a second in onnx. */
  readonly forwardMultiplyAdds: number;
  /** Forward and backward pass: multiply-adds a second … */
  readonly trainingMultiplyAdds: number;
  /** … and bytes of activations a second, which decide where a network is deep and thin. */
  readonly activationBytes: number;
  /** Parameters whose gradient is written, added up and applied a second. */
  readonly parameters: number;
  /** Of each layer in each engine call of its own. */
  readonly layerMs: number;
  /** Grains run one after another, each with a gradient of its own, instead of side by side in one graph. */
  readonly grainAfterGrain: boolean;
}

/**
 * Processor time of single gradients, 2026, on two cores with AVX-512. onnx: 1.3 ms for 1280 to 102 (96 rows in 8 grains), 200 ms for the 38.5 million parameters on mixed7 (20 rows). tensorflow: 183 ms for the
 * last block of MobileNetV2 (128 rows), 320 ms for all of it (8 rows), 269 ms for mixed7.
 */
const engineSpeeds: Readonly<Record<EngineName, EngineSpeed>> = {
  onnx: {
    forwardMultiplyAdds: 90e9,
    trainingMultiplyAdds: 50e9,
    activationBytes: 10e9,
    parameters: 250e6,
    layerMs: 0.2,
    grainAfterGrain: false,
  },
  tensorflow: {
    forwardMultiplyAdds: 25e9,
    trainingMultiplyAdds: 150e9,
    activationBytes: 2.5e9,
    parameters: 160e6,
    layerMs: 0.1,
    grainAfterGrain: true,
  },
};

/** Pictures of 500 x 375 pixels decoded and resized a second. */
const DECODED_PICTURES = 400;
/** Bytes a second that a Node client moves through the broker. */
const EXCHANGE_BYTES = 330e6;

/** Of an engine that this version does not know: as the default engine. */
function speedOf(engine: string): EngineSpeed {
  return engine === "tensorflow" ? engineSpeeds.tensorflow : engineSpeeds.onnx;
}

/** Pictures a second where both decoding and forward pass take their time on the same cores. */
export function assumedExtraction(engine: string, multiplyAddsPerImage: number): Speed {
  const forward = multiplyAddsPerImage / speedOf(engine).forwardMultiplyAdds;
  return { value: 1 / (1 / DECODED_PICTURES + forward), origin: "assumed" };
}

/** Milliseconds of a step of one trainer: forward pass, both halves of the backward pass and the update. */
export function assumedStep(engine: string, trainable: Network, batchSize: number, grains: number): Speed {
  const speed = speedOf(engine);
  const calls = speed.grainAfterGrain ? grains : 1;
  const perCall = (1000 * parameterCount(trainable).trainable) / speed.parameters + trainable.layers.length * speed.layerMs;
  const perRow =
    (3000 * multiplyAddsPerImage(trainable)) / speed.trainingMultiplyAdds + (4000 * activationElements(trainable)) / speed.activationBytes;
  return { value: calls * perCall + batchSize * perRow, origin: "assumed" };
}

/** Bytes a second through the gradient bus. */
export const assumedExchange: Speed = { value: EXCHANGE_BYTES, origin: "assumed" };
