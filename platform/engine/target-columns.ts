import { CodedError } from "../../domain/errors.js";
import { elementCount, type Network } from "../../domain/network/network.js";
import { layerShapes } from "../../domain/network/shapes.js";
import type { LossSpec } from "../../domain/training/loss.js";

/**
 * Columns of the targets: the classes, or 2 for a single sigmoid.
 * @throws CodedError NETWORK_INVALID where the network's output does not fit the loss.
 */
export function targetColumns(network: Network, loss: LossSpec): number {
  const shape = layerShapes(network).get(network.output) ?? [];
  const logits = elementCount(shape);
  if (shape.length === 1 && (loss.kind === "softmax" || logits === 1)) return loss.kind === "sigmoid" ? 2 : logits;
  throw new CodedError(
    "NETWORK_INVALID",
    `network ${network.name}: a ${loss.kind} loss needs ${loss.kind === "sigmoid" ? "one logit" : "a vector of logits"}, found [${shape.join(", ")}]; end it in a dense layer`,
  );
}
