import assert from "node:assert";
import { grainsOfTrainer } from "../grains.js";
import { addAlongTree, alignedSubTrees, type SubTree } from "../tree.js";
import { ChunkedVector } from "./chunked-vector.js";

/** The sub-trees that each trainer adds up alone: `[trainer]`. */
export function ownedSubTrees(grains: number, trainers: number): SubTree[][] {
  return Array.from({ length: trainers }, (_, trainer) => {
    const { from, to } = grainsOfTrainer(grains, trainers, trainer);
    return alignedSubTrees(from, to);
  });
}

/**
 * One part of the vector in one step: takes every trainer's tree nodes, cut to the part, and adds them along the tree once all are there.
 * Order of arrival and repeats do not show in the sum.
 */
export class PartReducer {
  readonly #nodes: readonly { readonly owner: number; readonly node: SubTree; readonly sum: ChunkedVector }[];
  #added = false;

  /** `whole` is where the sum of all grains ends up; until then it holds the node with the first grain, into which the others are added. */
  constructor(owned: readonly (readonly SubTree[])[], whole: Float32Array, valuesPerChunk: number) {
    this.#nodes = owned.flatMap((nodes, owner) =>
      nodes.map((node) => {
        const values = node.first === 0 ? whole : new Float32Array(whole.length);
        return { owner, node, sum: new ChunkedVector(values, valuesPerChunk) };
      }),
    );
  }

  /** "misfit": not a node of this owner, or a chunk of another size. */
  take(owner: number, node: SubTree, chunk: number, bytes: Uint8Array): "taken" | "repeated" | "misfit" {
    return this.#find(owner, node)?.sum.take(chunk, bytes) ?? "misfit";
  }

  /** A node of this trainer itself, whole. */
  takeOwn(owner: number, node: SubTree, values: Float32Array): void {
    const found = this.#find(owner, node);
    assert(
      found !== undefined,
      `grains ${node.first} to ${node.first + node.grains - 1} are no sub-tree that trainer ${owner} adds up alone`,
    );
    found.sum.takeAll(values);
  }

  get complete(): boolean {
    return this.#nodes.every(({ sum }) => sum.complete);
  }

  /** Trainers of whom something is missing, ascending. */
  missing(): number[] {
    return [...new Set(this.#nodes.filter(({ sum }) => !sum.complete).map(({ owner }) => owner))];
  }

  /** Adds all grains up into `whole`. Uses the nodes as work space: once only until `reset`. */
  add(): void {
    assert(this.complete && !this.#added, "a part is added up once, when all its nodes are there");
    this.#added = true;
    addAlongTree(this.#nodes.map(({ node, sum }) => ({ ...node, values: sum.values })));
  }

  get added(): boolean {
    return this.#added;
  }

  reset(): void {
    for (const { sum } of this.#nodes) sum.reset();
    this.#added = false;
  }

  #find(owner: number, node: SubTree) {
    return this.#nodes.find((known) => known.owner === owner && known.node.first === node.first && known.node.grains === node.grains);
  }
}
