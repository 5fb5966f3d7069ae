/**
 * Layer and tensor patterns of a recipe: `*` stands for any characters, `/` included. A pattern means a tensor when it matches the tensor's whole name (`head/output/bias`)
 * or its layer's (`head/output`).
 */
export function matchesTensor(pattern: string, tensorName: string): boolean {
  const expression = new RegExp(`^${pattern.split("*").map(escape).join(".*")}$`, "su");
  const slash = tensorName.lastIndexOf("/");
  return expression.test(tensorName) || (slash > 0 && expression.test(tensorName.slice(0, slash)));
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/gu, "\\$&");
}
