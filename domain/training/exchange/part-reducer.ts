import assert from "node:assert";
import { grainsOfTrainer } from "../grains.js";
import { addAlongTree, alignedSubTrees, type SubTree, type SubTreeSum } from "../tree.js";
import { ChunkedVector, type Taken } from "./chunked-vector.js";

/** The sub-trees that each trainer adds up alone: `[trainer]`. */
export function ownedSubTrees(grains: number, trainers: number): SubTree[][] {
  return Array.from({ length: trainers }, (_, trainer) => {
    const { from, to } = grainsOfTrainer(grains, trainers, trainer);
    return alignedSubTrees(from, to);
  });
}

/**
 * One part of the vector in one step: takes every trainer's tree nodes, cut to the part, and adds each chunk along the tree once all nodes have it.
 * Order of arrival and repeats do not show in the sum.
 */
export class PartReducer {
  readonly #nodes: readonly { readonly owner: number; readonly node: SubTree; readonly sum: ChunkedVector }[];
  readonly #chunks: readonly Chunk[];

  /** `whole` is where the sum of all grains ends up; until then it holds the node with the first grain, into which the others are added. */
  constructor(owned: readonly (readonly SubTree[])[], whole: Float32Array, valuesPerChunk: number) {
    this.#nodes = owned.flatMap((nodes, owner) =>
      nodes.map((node) => {
        const values = node.first === 0 ? whole : new Float32Array(whole.length);
        return { owner, node, sum: new ChunkedVector(values, valuesPerChunk) };
      }),
    );
    this.#chunks = Array.from({ length: this.#nodes[0]?.sum.chunks ?? 0 }, (_, chunk) => ({
      sums: this.#nodes.map(({ node, sum }) => ({ ...node, values: sum.chunkValues(chunk) })),
      missing: this.#nodes.length,
    }));
  }

  /** "misfit": not a node of this owner, or a chunk of another size. */
  take(owner: number, node: SubTree, chunk: number, bytes: Uint8Array): Taken {
    const taken = this.#find(owner, node)?.sum.take(chunk, bytes) ?? "misfit";
    if (taken === "taken") this.#arrived(chunk);
    return taken;
  }

  /** A node of this trainer itself, whole. */
  takeOwn(owner: number, node: SubTree, values: Float32Array): void {
    const found = this.#find(owner, node);
    assert(
      found !== undefined,
      `grains ${node.first} to ${node.first + node.grains - 1} are no sub-tree that trainer ${owner} adds up alone`,
    );
    found.sum.takeAll(values);
    for (let chunk = 0; chunk < this.#chunks.length; chunk++) this.#arrived(chunk);
  }

  /** Whether `whole` holds the sum of all grains in this chunk. */
  isAdded(chunk: number): boolean {
    return this.#chunks[chunk]?.missing === 0;
  }

  /** Trainers of whom something is missing, ascending. */
  missing(): number[] {
    return [...new Set(this.#nodes.filter(({ sum }) => !sum.complete).map(({ owner }) => owner))];
  }

  reset(): void {
    for (const { sum } of this.#nodes) sum.reset();
    for (const chunk of this.#chunks) chunk.missing = this.#nodes.length;
  }

  /** The nodes are the work space of the addition: no chunk arrives twice. */
  #arrived(chunk: number): void {
    const { sums } = this.#chunks[chunk] as Chunk;
    if (--(this.#chunks[chunk] as Chunk).missing === 0) addAlongTree(sums);
  }

  #find(owner: number, node: SubTree) {
    return this.#nodes.find((known) => known.owner === owner && known.node.first === node.first && known.node.grains === node.grains);
  }
}

interface Chunk {
  /** Every node, cut to the chunk. */
  readonly sums: readonly SubTreeSum[];
  /** Nodes that have not come. */
  missing: number;
}
