import { commonEmitters } from "../common-emitters.js";
import type { Lowering } from "../lowering.js";
import { activationEmitters } from "./activations.js";
import { channelEmitters } from "./channels.js";
import { convolutionEmitters } from "./convolutions.js";
import { kernelGradientEmitters } from "./kernel-gradients.js";
import { convertBlocked } from "./layouts.js";
import { poolingEmitters } from "./pooling.js";

/**
 * The runtime's own operators for CPUs, `com.microsoft.nchwc`, on channels in blocks of `block` numbers, as long as a vector of the CPU. They take kernels that change from call to call as well as constant ones.
 * Large pictures are blocked from one convolution to the next; small ones lie in rows, where 1x1 convolutions are matrix products.
 */
export function blockedLowering(block: number): Lowering {
  return {
    name: `blocked-${block}`,
    emitters: {
      ...commonEmitters,
      ...activationEmitters,
      ...convolutionEmitters(block),
      ...kernelGradientEmitters(block),
      ...channelEmitters(block),
      ...poolingEmitters(block),
    },
    convert: convertBlocked(block),
  };
}
