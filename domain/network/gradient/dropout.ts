import type { LayerRule, OfKind } from "./rule.js";

/** y = x x mask, dx = dy x mask, with a mask of 0 and 1 / (1 - rate) that is drawn outside. */
export const dropout: LayerRule<OfKind<"dropout">> = (layer, [x], build) => {
  const mask = build.activation({ kind: "mask", layer: layer.name }, [], x.shape);
  return {
    output: build.output({ kind: "multiply" }, [x, mask]),
    backward: (dy) => ({ inputs: [build.activation({ kind: "multiply" }, [dy, mask])] }),
  };
};
