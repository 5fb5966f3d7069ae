/**
 * Order of two texts by their UTF-8 bytes, without making the bytes. UTF-16 units, by which JavaScript compares, have the same order but for surrogates: they
 * stand for code points above U+FFFF and must come after U+E000 to U+FFFF.
 */
export function compareUtf8(a: string, b: string): number {
  if (a === b) return 0;
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    return left >= 0xd800 && right >= 0xd800 ? raised(left) - raised(right) : left - right;
  }
  return a.length - b.length;
}

/** Moves surrogates (D800 to DFFF) above the other units from D800 on. */
function raised(unit: number): number {
  return unit <= 0xdfff ? unit + 0x10000 : unit;
}
