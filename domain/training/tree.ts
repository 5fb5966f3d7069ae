import { strict as assert } from "node:assert";

/**
 * The fixed binary tree along which the sums of grains are added in float32. Its leaves are the grains 0, 1, 2, …; the node of `grains` leaves that begins at `first`
 * is the sum of its left and right halves, in this order. Addition in float32 is not associative, so this order is what makes a result the same whoever adds.
 */
export interface SubTree {
  /** The first grain; a multiple of `grains`. */
  readonly first: number;
  /** A power of two. */
  readonly grains: number;
}

/** A sub-tree with its sum. */
export interface SubTreeSum extends SubTree {
  readonly values: Float32Array;
}

/** The fewest aligned sub-trees that cover the grains from `first` to before `end`, in ascending order: what one owner of that range adds up alone. */
export function alignedSubTrees(first: number, end: number): SubTree[] {
  assert(
    Number.isInteger(first) && Number.isInteger(end) && 0 <= first && first <= end,
    `a range of grains must be whole and ascending, found ${first} to ${end}`,
  );
  const subTrees: SubTree[] = [];
  for (let next = first; next < end;) {
    let grains = 1;
    while (next % (2 * grains) === 0 && next + 2 * grains <= end) grains *= 2;
    subTrees.push({ first: next, grains });
    next += grains;
  }
  return subTrees;
}

/**
 * Adds sums of sub-trees that together make up one larger sub-tree; they may come in any order. Equal, bit for bit, to adding up all leaves in one place.
 * The vectors are the work space: the result is the one with the lowest grain, the others are left in a state of no meaning.
 */
export function addAlongTree(parts: readonly SubTreeSum[]): Float32Array {
  const pending: SubTreeSum[] = [];
  for (const part of [...parts].sort((a, b) => a.first - b.first)) {
    assert(
      isPowerOfTwo(part.grains) && part.first % part.grains === 0,
      `grains ${part.first} to ${part.first + part.grains - 1} are no aligned sub-tree`,
    );
    let right = part;
    for (let left = pending.at(-1); left !== undefined && areSiblings(left, right); left = pending.at(-1)) {
      pending.pop();
      addInto(left.values, right.values);
      right = { first: left.first, grains: 2 * left.grains, values: left.values };
    }
    pending.push(right);
  }
  const [sum, ...others] = pending;
  assert(
    sum !== undefined && others.length === 0,
    `the parts must make up one sub-tree, found ${pending.map((p) => `${p.first}+${p.grains}`).join(", ") || "none"}`,
  );
  return sum.values;
}

/** The same for the rows of one matrix `[grains, width]`, one row a grain: afterwards its first row is the sum. */
export function addRowsAlongTree(rows: Float32Array, grains: number): Float32Array {
  assert(
    isPowerOfTwo(grains) && rows.length % grains === 0,
    `${rows.length} values cannot be the rows of ${grains} grains; the count must be a power of two`,
  );
  const width = rows.length / grains;
  for (let distance = 1; distance < grains; distance *= 2) {
    for (let left = 0; left < grains; left += 2 * distance) {
      for (let i = left * width, j = (left + distance) * width, end = i + width; i < end; i++, j++)
        rows[i] = (rows[i] as number) + (rows[j] as number);
    }
  }
  return rows.subarray(0, width);
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 0x4000_0000 && (value & (value - 1)) === 0;
}

function areSiblings(left: SubTree, right: SubTree): boolean {
  return left.grains === right.grains && left.first % (2 * left.grains) === 0 && left.first + left.grains === right.first;
}

/**
 * sum += addend. The store rounds the float64 sum of two float32 to float32, which gives the same bits as one float32 addition. Eight at a time take 0.8 ns a value, one at a time 1.3:
 * adding is the largest part of what a trainer computes in an exchange.
 */
export function addInto(sum: Float32Array, addend: Float32Array): void {
  assert(sum.length === addend.length, "sums of one tree must have one length");
  const add = (i: number): void => void (sum[i] = (sum[i] as number) + (addend[i] as number));
  let i = 0;
  for (const end = sum.length - (sum.length % 8); i < end; i += 8) {
    add(i);
    add(i + 1);
    add(i + 2);
    add(i + 3);
    add(i + 4);
    add(i + 5);
    add(i + 6);
    add(i + 7);
  }
  for (; i < sum.length; i++) add(i);
}
