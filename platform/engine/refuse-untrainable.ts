import { CodedError } from "../../domain/errors.js";
import { type EngineName, enginesThatTrain, trainingObstacle } from "../../domain/training/trainable-layers.js";
import type { Trainable } from "./engine.js";

/**
 * What the planner refuses (domain/training/trainable-layers.ts) no adapter takes.
 * @throws CodedError ENGINE_UNSUPPORTED naming the first layer that the engine cannot train, and an engine that can.
 */
export function refuseUntrainable(engine: EngineName, { network, preprocessing }: Trainable): void {
  const part = { tail: network, pixels: preprocessing !== undefined };
  const obstacle = trainingObstacle(engine, part);
  if (obstacle === undefined) return;
  const others = enginesThatTrain(part);
  const remedy = others.length === 0 ? "" : `use engine ${others.join(" or ")}, or `;
  throw new CodedError(
    "ENGINE_UNSUPPORTED",
    `engine ${engine}: network ${network.name}: cannot train layer "${obstacle.layer}" ${obstacle.reason}; ${remedy}cut the backbone at a later layer`,
    { layer: obstacle.layer, engines: others },
  );
}
