/** What the gradient is the gradient of. */
export interface LossSpec {
  /** softmax: cross-entropy over `classes` logits. sigmoid: binary cross-entropy on one logit, where class 1 is the positive one. */
  readonly kind: "softmax" | "sigmoid";
  /** Smoothing e: targets become (1 - e) x one-hot + e / classes (for sigmoid: (1 - e) x label + e / 2). */
  readonly labelSmoothing: number;
}
