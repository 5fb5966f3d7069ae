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
 * Pictures are in blocks from one convolution to the next; only what sums over places and rows, the gradients of kernels, brings some of them in rows.
 */
export function blockedLowering(block: number): Lowering {
  return {
    name: `blocked-${block}`,
    emitters: {
      ...commonEmitters,
      ...activationEmitters(block),
      ...convolutionEmitters(block),
      ...kernelGradientEmitters(block),
      ...channelEmitters(block),
      ...poolingEmitters(block),
    },
    convert: convertBlocked(block),
  };
}
