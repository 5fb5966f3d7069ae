/** 0.8720: four digits after the point; a dash for null. */
export function fraction(value: number | null): string {
  return value === null ? "–" : value.toFixed(4);
}

/** A probability; small ones in scientific notation, so that they are not shown as 0. */
export function probability(value: number): string {
  return value !== 0 && value < 0.0001 ? value.toExponential(1) : value.toFixed(4);
}

/** `840 ms`, `12.3 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/**
 * The Wilson score interval of `right` out of `total` at 95 %: where the true accuracy lies, were the pictures a random sample.
 * Wilson, E. B. (1927), Probable inference, the law of succession, and statistical inference.
 */
export function wilsonInterval(right: number, total: number): readonly [low: number, high: number] {
  const z = 1.959964;
  const share = right / total;
  const centre = share + (z * z) / (2 * total);
  const spread = z * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  const scale = 1 + (z * z) / total;
  return [Math.max(0, (centre - spread) / scale), Math.min(1, (centre + spread) / scale)];
}
