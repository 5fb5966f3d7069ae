import type { LayerRule, OfKind } from "./rule.js";

/** x `[rows, h, w, C]`, y `[rows, h x w x C]`: the same values in the same order, as are dy and dx. */
export const flatten: LayerRule<OfKind<"flatten">> = (_layer, [x], build) => ({
  output: build.output({ kind: "reshape" }, [x]),
  backward: (dy) => ({ inputs: [build.activation({ kind: "reshape" }, [dy], x.shape)] }),
});

/** y = x with zeros around it; dx is what of dy lies inside them. */
export const zeroPad: LayerRule<OfKind<"zeroPad">> = ({ padding }, [x], build) => ({
  output: build.output({ kind: "pad", padding }, [x]),
  backward: (dy) => ({ inputs: [build.activation({ kind: "crop", padding }, [dy], x.shape)] }),
});
