import { channelsOf } from "./builder.js";
import type { LayerRule, OfKind } from "./rule.js";

/** y = x1 + x2 + …, added from the first to the last; each dx is dy. */
export const add: LayerRule<OfKind<"add">> = (_layer, inputs, build) => ({
  output: inputs.reduce((sum, x) => build.activation({ kind: "add" }, [sum, x])),
  backward: (dy) => ({ inputs: inputs.map(() => dy) }),
});

/** x1 `[…, C1]`, x2 `[…, C2]`, … beside each other, y `[…, C1 + C2 + …]`; each dx is its channels of dy. */
export const concat: LayerRule<OfKind<"concat">> = (_layer, inputs, build) => ({
  output: build.output({ kind: "concat" }, inputs),
  backward: (dy) => {
    let first = 0;
    const gradients = inputs.map((x) => {
      const dx = build.activation({ kind: "channels", first }, [dy], x.shape);
      first += channelsOf(x);
      return dx;
    });
    return { inputs: gradients };
  },
});
