/**
 * Layer and tensor patterns of a recipe: `*` stands for any characters, `/` included. A pattern means a tensor when it matches the tensor's whole name (`head/output/bias`)
 * or its layer's (`head/output`).
 */
export function matchesTensor(pattern: string, tensorName: string): boolean {
  const slash = tensorName.lastIndexOf("/");
  return matches(pattern, tensorName) || (slash > 0 && matches(pattern, tensorName.slice(0, slash)));
}

/** No regular expression: one with many `*` takes exponential time, and a pattern is untrusted. The first place for each piece between two `*` is always a right one. */
function matches(pattern: string, text: string): boolean {
  const [first = "", ...others] = pattern.split("*");
  const last = others.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const piece of others) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
