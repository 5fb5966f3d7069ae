import type { KernelLayer } from "./kernel-layer.js";
import type { OfKind } from "./rule.js";

/**
 * With x `[rows, in]`, y `[rows, units]`, kernel `[in, units]`, bias `[units]`:
 *
 *   y = x kernel + bias     dx = dy kernel^T     dkernel = x^T dy     dbias = sum over rows of dy
 */
export const dense: KernelLayer<OfKind<"dense">> = {
  kernelName: "kernel",
  channels: "all",
  forward: (_layer, { x, kernel, bias }, build) => build.output({ kind: "product" }, bias ? [x, kernel, bias] : [x, kernel]),
  backward: (_layer, { x, kernel }, dy, build) => ({
    dx: build.activation({ kind: "productInputGradient" }, [dy, kernel], x.shape),
    dkernel: build.tensor({ kind: "productKernelGradient" }, [x, dy], kernel.shape),
    dbias: build.sumOverRows(dy),
  }),
};
