/** The rows from `first` to before `end` that have a weight. */
export function countedRows(rowWeights: Float32Array, first: number, end: number): number[] {
  const counted = [];
  for (let row = first; row < end; row++) if (rowWeights[row] !== 0) counted.push(row);
  return counted;
}

/** These rows of `data` one after another: where they lie if they are neighbours, as they are unless a class has the weight 0, else a copy. */
export function chosenRows<Data extends Float32Array | Uint8Array>(data: Data, rows: readonly number[], length: number): Data {
  const [first = 0, last = 0] = [rows[0], rows.at(-1)];
  if (last - first === rows.length - 1) return data.subarray(first * length, (last + 1) * length) as Data;
  const chosen = new (data.constructor as new (length: number) => Data)(rows.length * length);
  rows.forEach((row, i) => chosen.set(data.subarray(row * length, (row + 1) * length), i * length));
  return chosen;
}
