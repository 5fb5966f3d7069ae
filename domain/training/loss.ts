/** What the gradient is the gradient of. */
export interface LossSpec {
  /** softmax: cross-entropy over `classes` logits. sigmoid: binary cross-entropy on one logit, where class 1 is the positive one. */
  readonly kind: "softmax" | "sigmoid";
  /** Smoothing e: targets become (1 - e) x one-hot + e / classes (for sigmoid: (1 - e) x label + e / 2). */
  readonly labelSmoothing: number;
}

/** Why this loss cannot tell so many classes apart; undefined where it can. */
export function lossProblem({ kind }: LossSpec, classes: number): string | undefined {
  if (kind === "softmax" || classes <= 2) return undefined;
  return `training.loss: SIGMOID_CROSS_ENTROPY is for two classes, found ${classes}; use SOFTMAX_CROSS_ENTROPY`;
}
