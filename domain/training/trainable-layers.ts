import { CodedError } from "../errors.js";
import type { CutBackbone } from "../job/cut-backbone.js";
import { legalCuts } from "../network/cut.js";
import { INPUT, type Network } from "../network/network.js";

export const engineNames = ["onnx", "tensorflow"] as const;
export type EngineName = (typeof engineNames)[number];

/** What stands above a cut, and whether pixels enter it. */
export type TrainedPart = Pick<CutBackbone, "tail" | "pixels">;

/** What an engine cannot train. */
export interface TrainingObstacle {
  readonly layer: string;
  /** To be read after the layer's name. */
  readonly reason: string;
}

/**
 * The first thing above the cut that an engine cannot train; undefined where it can train all of it. Heads are dense and no obstacle to any engine.
 * onnx trains everything; tensorflow too, but its gradient of a depthwise convolution knows one stride for both directions.
 */
const obstacleOf: Readonly<Record<EngineName, (part: TrainedPart) => TrainingObstacle | undefined>> = {
  onnx: () => undefined,
  tensorflow: ({ tail }) => {
    for (const layer of tail?.layers ?? []) {
      if (layer.kind === "depthwiseConv2d" && layer.strides[0] !== layer.strides[1])
        return { layer: layer.name, reason: "(depthwiseConv2d), whose strides differ" };
    }
    return undefined;
  },
};

/** What an engine cannot train above the cut; undefined where it can train all of it. */
export function trainingObstacle(engine: EngineName, part: TrainedPart): TrainingObstacle | undefined {
  return obstacleOf[engine](part);
}

/** Engines that can train what stands above the cut, the preferred first. */
export function enginesThatTrain(part: TrainedPart): EngineName[] {
  return engineNames.filter((engine) => obstacleOf[engine](part) === undefined);
}

/** The engine that trains: the wanted one, or the first that can. A pure function, so that a job means the same on every machine. */
export function trainingEngine(wanted: EngineName | undefined, part: TrainedPart): EngineName {
  return wanted ?? enginesThatTrain(part)[0] ?? "onnx";
}

/**
 * Finds out before any work is done whether an engine can train everything above the cut.
 * @throws CodedError ENGINE_UNSUPPORTED naming the first layer that it cannot train, an engine that can, and the earliest cut above which this one can.
 */
export function checkTrainable(
  engine: string,
  { tail, pixels, cut, network }: Pick<CutBackbone, "tail" | "pixels" | "cut" | "network">,
): void {
  const check = engineNames.find((name) => name === engine);
  const obstacle = check && obstacleOf[check]({ tail, pixels });
  if (check === undefined || obstacle === undefined) return;
  const isTrainableAbove = (layer: string): boolean => obstacleOf[check]({ tail: above(network, layer), pixels: false }) === undefined;
  const earliest = legalCuts(network).find(isTrainableAbove) ?? network.output;
  const others = enginesThatTrain({ tail, pixels });
  const remedy = others.length === 0 ? "" : `use engine ${others.join(" or ")} (trainers.engine, --engine), or `;
  throw new CodedError(
    "ENGINE_UNSUPPORTED",
    `cut "${cut}": the layers of ${network.name} above it are trained, and engine ${engine} cannot train layer "${obstacle.layer}" ${obstacle.reason}; ${remedy}choose a cut at or after "${earliest}"`,
    { layer: obstacle.layer, cut, earliest, engines: others },
  );
}

/** The layers after a legal cut. */
function above(network: Network, cut: string): Network {
  const position = network.layers.findIndex(({ name }) => name === cut);
  const layers = network.layers
    .slice(position + 1)
    .map((layer) => ({ ...layer, inputs: layer.inputs.map((input) => (input === cut ? INPUT : input)) }));
  return { ...network, layers };
}
