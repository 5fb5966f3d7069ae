import { commonEmitters } from "../common-emitters.js";
import { elementwiseEmitters } from "../elementwise.js";
import type { Lowering } from "../lowering.js";
import { channelEmitters } from "./channels.js";
import { convolutionEmitters } from "./convolutions.js";
import { convertPortable } from "./layouts.js";
import { poolingEmitters } from "./pooling.js";

/** Operators of the standard set only, right on every provider. Pictures are NCHW, and plain where a product sums over their places. */
export const portableLowering: Lowering = {
  name: "portable",
  emitters: {
    ...commonEmitters,
    // What came in plain may go on so: into a flatten, where no picture was needed.
    ...elementwiseEmitters((walk, { operands }) => (operands.some((operand) => walk.has(operand, "nchw")) ? "nchw" : "plain")),
    ...convolutionEmitters,
    ...channelEmitters,
    ...poolingEmitters,
  },
  convert: convertPortable,
};
