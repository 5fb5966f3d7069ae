/**
 * Moving statistics of batch norm after one step in training mode, in place: moving' = momentum x moving + (1 - momentum) x batch, where `sums` are the sums over all grains of
 * rows x batch mean or rows x batch variance and `rows` is the batch size. So the batch's value is the mean over the grains, weighted by their rows: with one grain what Keras does
 * (keras/src/layers/normalization/batch_normalization.py, biased variance), with more what Keras gives when it is run per grain and averaged. One rounding an operation.
 */
export function moveStatistics(moving: Float32Array, sums: Float32Array, rows: number, momentum: number): void {
  const keep = Math.fround(momentum);
  const take = Math.fround(1 - momentum);
  const scale = Math.fround(1 / rows);
  for (let i = 0; i < moving.length; i++) {
    const batch = Math.fround((sums[i] as number) * scale);
    moving[i] = Math.fround((moving[i] as number) * keep) + Math.fround(batch * take);
  }
}
