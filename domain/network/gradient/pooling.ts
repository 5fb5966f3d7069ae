import type { LayerRule, OfKind } from "./rule.js";

/** y[p] = the largest x of the window at p; dx[q] = sum of dy[p] over the windows whose first largest value, row by row, is q. Each channel alone; padding is never the largest. */
export const maxPool: LayerRule<OfKind<"maxPool">> = ({ size, strides, padding }, [x], build) => {
  const window = { size, strides, padding };
  const y = build.output({ kind: "maxPool", window }, [x]);
  return { output: y, backward: (dy) => ({ inputs: [build.activation({ kind: "maxPoolGradient", window }, [dy, x, y], x.shape)] }) };
};

/** With n[p] places of the picture in the window at p: y[p] = sum of x over them / n[p]; dx[q] = sum of dy[p] / n[p] over the windows that hold q. Each channel alone. */
export const averagePool: LayerRule<OfKind<"averagePool">> = ({ size, strides, padding }, [x], build) => {
  const window = { size, strides, padding };
  return {
    output: build.output({ kind: "averagePool", window }, [x]),
    backward: (dy) => ({ inputs: [build.activation({ kind: "averagePoolGradient", window }, [dy], x.shape)] }),
  };
};

/** x `[rows, h, w, C]`, y `[rows, C]`: y[c] = mean over the places of x[c]; dx[q, c] = dy[c] / (h x w). */
export const globalAveragePool: LayerRule<OfKind<"globalAveragePool">> = (_layer, [x], build) => ({
  output: build.output({ kind: "globalAveragePool" }, [x]),
  backward: (dy) => ({ inputs: [build.activation({ kind: "globalAveragePoolGradient" }, [dy], x.shape)] }),
});
