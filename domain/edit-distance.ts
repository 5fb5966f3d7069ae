/** Characters that are compared: a text is untrusted and may be long, and the time is the product of both lengths. */
const LENGTH_MAX = 64;

/** Insertions, deletions and replacements that make the beginning of `b` out of that of `a` (Levenshtein), each cut to 64 characters. */
export function editDistance(a: string, b: string): number {
  const from = a.slice(0, LENGTH_MAX);
  const to = b.slice(0, LENGTH_MAX);
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const line = [row];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1);
      line.push(Math.min(replaced, (above[column] ?? 0) + 1, (line[column - 1] ?? 0) + 1));
    }
    above = line;
  }
  return above[to.length] ?? 0;
}
