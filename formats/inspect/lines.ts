import { isObject } from "../json/json.js";

/** Long lists and texts are shown by their beginning. */
const itemsShown = 12;
const lengthShown = 200;

/** `name  value` with the values under each other. */
export function pairs(entries: readonly (readonly [string, string | number | null])[]): string[] {
  const width = entries.reduce((longest, [name]) => Math.max(longest, name.length), 0);
  return entries.map(([name, value]) => `  ${name.padEnd(width)}  ${value ?? "none"}`);
}

/** Every leaf by its path. */
export function leaves(value: object, prefix = ""): [path: string, leaf: string][] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]): [string, string][] => {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    if (Array.isArray(inner)) {
      const more = inner.length > itemsShown ? `, … (${inner.length} in all)` : "";
      return [
        [
          path,
          inner.length === 0
            ? "none"
            : inner
                .slice(0, itemsShown)
                .map((item) => shortened(typeof item === "string" ? item : JSON.stringify(item)))
                .join(", ") + more,
        ],
      ];
    }
    return isObject(inner) ? leaves(inner, path) : [[path, shortened(String(inner))]];
  });
}

export function shortened(text: string): string {
  return text.length > lengthShown ? `${text.slice(0, lengthShown)}… (${text.length} characters)` : text;
}
