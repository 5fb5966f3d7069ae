import { commonEmitters } from "../common-emitters.js";
import { elementwiseEmitters } from "../elementwise.js";
import type { Lowering } from "../lowering.js";
import { channelEmitters } from "./channels.js";
import { convolutionEmitters } from "./convolutions.js";
import { convertPortable, portableLayout } from "./layouts.js";
import { poolingEmitters } from "./pooling.js";

/** Operators of the standard set only, right on every provider. Pictures are NCHW, and plain where a product sums over their places. */
export const portableLowering: Lowering = {
  name: "portable",
  emitters: {
    ...commonEmitters,
    ...elementwiseEmitters((_walk, result) => portableLayout(result)),
    ...convolutionEmitters,
    ...channelEmitters,
    ...poolingEmitters,
  },
  convert: convertPortable,
};
