/** IEEE 754 binary16 to binary32; exact. */
export function widenHalves(halves: Uint16Array): Float32Array {
  const words = new Uint32Array(halves.length);
  for (let index = 0; index < halves.length; index++) words[index] = float32BitsOfHalf(halves[index] ?? 0);
  return new Float32Array(words.buffer);
}

/** bfloat16 is the upper half of a binary32. */
export function widenBrainFloats(halves: Uint16Array): Float32Array {
  const words = new Uint32Array(halves.length);
  for (let index = 0; index < halves.length; index++) words[index] = (halves[index] ?? 0) << 16;
  return new Float32Array(words.buffer);
}

function float32BitsOfHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  let exponent = (half >> 10) & 0x1f;
  let fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent === 0) {
    if (fraction === 0) return sign;
    // A subnormal half is a normal float32: move its first one bit to the implicit place.
    exponent = 1;
    while ((fraction & 0x400) === 0) {
      fraction <<= 1;
      exponent--;
    }
    fraction &= 0x3ff;
  }
  return sign | ((exponent + 112) << 23) | (fraction << 13);
}
