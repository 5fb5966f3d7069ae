/**
 * Elementary functions whose bits are the same on every machine and Node version: only + - * / and exact scaling by powers of two, in an order that the source fixes.
 * `Math.exp`, `Math.log`, `Math.cos` and `**` may differ from one V8 to the next, so nothing that shapes weights may call them. Errors stay below 2 units in the last place.
 */

/** ln 2 in two parts: the first has 32 trailing zero bits, so its product with an exponent is exact (the split of fdlibm's e_log.c). */
const LN2_HIGH = 6.9314718036912381649e-1;
const LN2_LOW = 1.90821492927058770002e-10;
const SQRT2 = 1.4142135623730951;

const view = new DataView(new ArrayBuffer(8));

/** 2^exponent for exponents of normal numbers, -1022 to 1023. */
function powerOfTwo(exponent: number): number {
  view.setUint32(0, (exponent + 1023) << 20);
  view.setUint32(4, 0);
  return view.getFloat64(0);
}

/** Natural logarithm of a positive, finite, normal number: x = m 2^e with m near 1, ln m = 2 artanh((m - 1) / (m + 1)). */
export function exactLog(x: number): number {
  if (!(x >= 2.2250738585072014e-308 && x <= Number.MAX_VALUE)) throw new RangeError(`exactLog takes positive normal numbers, got ${x}`);
  view.setFloat64(0, x);
  const high = view.getUint32(0);
  let exponent = (high >>> 20) - 1023;
  view.setUint32(0, (high & 0x000fffff) | 0x3ff00000);
  let mantissa = view.getFloat64(0);
  if (mantissa > SQRT2) {
    mantissa *= 0.5;
    exponent += 1;
  }
  const s = (mantissa - 1) / (mantissa + 1);
  const z = s * s;
  // |s| <= 0.172, so the first term left out, z^13 / 27, is below 1e-21.
  let sum = 0;
  for (let k = 25; k >= 3; k -= 2) sum = z * (sum + 1 / k);
  return exponent * LN2_HIGH + (2 * s + (2 * s * sum + exponent * LN2_LOW));
}

/** e^x for -708 <= x <= 709; 0 below and Infinity above. */
export function exactExp(x: number): number {
  if (Number.isNaN(x)) return x;
  if (x < -708) return 0;
  if (x > 709) return Infinity;
  const k = Math.floor(x * 1.4426950408889634 + 0.5);
  const r = x - k * LN2_HIGH - k * LN2_LOW;
  // |r| <= 0.347: the first term left out of the Taylor series, r^15 / 15!, is below 1e-19.
  let sum = 0;
  for (let n = 14; n >= 1; n--) sum = (r / n) * (1 + sum);
  return (1 + sum) * powerOfTwo(k);
}

/** cos(pi x) for |x| < 2^50. */
export function cosPi(x: number): number {
  const t = Math.abs(x) - 2 * Math.floor(Math.abs(x) * 0.5); // exact: [0, 2)
  const folded = t > 1 ? 2 - t : t;
  if (folded <= 0.25) return cosSeries(folded);
  if (folded < 0.75) return sinSeries(0.5 - folded);
  return -cosSeries(1 - folded);
}

/** sin(pi x) for |x| < 2^50. */
export function sinPi(x: number): number {
  const t = x - 2 * Math.floor(x * 0.5); // exact: [0, 2)
  const sign = t > 1 ? -1 : 1;
  const folded = t > 1 ? t - 1 : t;
  if (folded <= 0.25) return sign * sinSeries(folded);
  if (folded < 0.75) return sign * cosSeries(folded - 0.5);
  return sign * sinSeries(1 - folded);
}

/** base^exponent for a whole exponent >= 0, by squaring: a fixed sequence of products. */
export function wholePower(base: number, exponent: number): number {
  if (!Number.isSafeInteger(exponent) || exponent < 0) throw new RangeError(`wholePower takes whole exponents >= 0, got ${exponent}`);
  let result = 1;
  let square = base;
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result *= square;
    square *= square;
  }
  return result;
}

/** Taylor series of cos(pi x), |x| <= 1/4; the first term left out is below 1e-19. */
function cosSeries(x: number): number {
  const y = x * Math.PI;
  const z = y * y;
  let sum = 0;
  for (let n = 16; n >= 2; n -= 2) sum = (-z / (n * (n - 1))) * (1 + sum);
  return 1 + sum;
}

/** Taylor series of sin(pi x), |x| <= 1/4; the first term left out is below 1e-19. */
function sinSeries(x: number): number {
  const y = x * Math.PI;
  const z = y * y;
  let sum = 0;
  for (let n = 17; n >= 3; n -= 2) sum = (-z / (n * (n - 1))) * (1 + sum);
  return y * (1 + sum);
}
