/** Markup that is safe to put into a page. Made only by `html` and `trusted`. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Value = string | number | Html | readonly Html[] | undefined;

/** A template whose values are escaped, unless they are markup already; undefined is nothing. Names of classes and files may hold anything. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(parts.reduce((text, part, i) => text + markupOf(values[i - 1]) + part));
}

/** Markup of this repository's own making, e.g. the SVG of a chart. Never text from outside. */
export function trusted(text: string): Html {
  return new Html(text);
}

function markupOf(value: Value): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(({ text }) => text).join("");
  return escapeText(String(value));
}

/** For text and quoted attributes. Control characters, which HTML cannot hold, are shown by their symbols. */
function escapeText(text: string): string {
  return text.replace(/[&<>"'\u0000-\u001f\u007f]/g, (character) => entities[character] ?? controlSymbol(character));
}

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

function controlSymbol(character: string): string {
  const code = character.charCodeAt(0);
  return String.fromCharCode(code === 0x7f ? 0x2421 : 0x2400 + code);
}
