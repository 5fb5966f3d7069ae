import type { Backbone } from "./backbone.js";
export function classifierRow(backbone: Backbone, className: string): { readonly kernel: Float32Array; readonly bias: number; readonly index: number } {
  throw new Error(`${backbone.name} ${className}`);
}
export function sameClassName(a: string, b: string): boolean {
  return a === b;
}
