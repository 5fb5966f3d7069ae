import { type ManifestTable, splitNames, splitOfWord } from "../../domain/dataset/listing.js";
import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import { CodedError } from "../../domain/errors.js";
import { csvRecords } from "./csv.js";

export type ManifestFormat = "csv" | "jsonl";

/** Bad lines that an error names; the others are counted. */
const BAD_LINES_NAMED_MAX = 20;

/** The manifest format that a file name stands for, or undefined. */
export function manifestFormat(name: string): ManifestFormat | undefined {
  if (/\.csv$/i.test(name)) return "csv";
  return /\.(jsonl|ndjson)$/i.test(name) ? "jsonl" : undefined;
}

/**
 * A manifest names pictures under its own folder with their labels: CSV with a header that has the columns uri, label and maybe split (others are skipped), or one
 * JSON object `{"uri", "label", "split"?}` a line. UTF-8.
 * @throws CodedError DATASET_INVALID that names every bad line (the first 20).
 */
export function decodeManifest(bytes: Uint8Array, format: ManifestFormat, name: string): ManifestTable {
  const text = decodeUtf8(bytes, name);
  const table = new TableBuilder(name);
  if (format === "csv") addCsv(text, name, table);
  else addJsonLines(text, table);
  return table.build();
}

function addCsv(text: string, name: string, table: TableBuilder): void {
  const records = csvRecords(text);
  const header = records.next().value;
  const columns = header?.fields.map((field) => field.trim().toLowerCase()) ?? [];
  const [uri, label, split] = [columns.indexOf("uri"), columns.indexOf("label"), columns.indexOf("split")];
  if (uri < 0 || label < 0) {
    throw new CodedError(
      "DATASET_INVALID",
      `${name}: expected a first line with the columns uri,label[,split], found ${JSON.stringify(columns.join(","))}; add that line`,
    );
  }
  for (const { line, fields } of records) {
    if (fields.length !== columns.length) table.refuse(line, `expected ${columns.length} fields, found ${fields.length}`);
    else table.add(line, fields[uri] as string, fields[label] as string, split < 0 ? undefined : fields[split]);
  }
}

function addJsonLines(text: string, table: TableBuilder): void {
  let line = 0;
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at);
    const content = text.slice(at, end < 0 ? text.length : end);
    at = end < 0 ? text.length : end + 1;
    line++;
    if (content.trim() === "") continue;
    let row: unknown;
    try {
      row = JSON.parse(content);
    } catch {
      table.refuse(line, "expected a JSON object, found something that JSON cannot read");
      continue;
    }
    if (row === null || typeof row !== "object" || Array.isArray(row)) {
      table.refuse(line, "expected a JSON object with uri and label");
      continue;
    }
    const { uri, label, split } = row as { uri?: unknown; label?: unknown; split?: unknown };
    if (typeof uri !== "string" || typeof label !== "string") table.refuse(line, "expected uri and label as texts");
    else if (split !== undefined && split !== null && typeof split !== "string") table.refuse(line, "expected split as a text");
    else table.add(line, uri, label, split ?? undefined);
  }
}

/** Checks and collects rows; complains once, about all of them. */
class TableBuilder {
  readonly #name: string;
  readonly #uris: string[] = [];
  readonly #labelOf: number[] = [];
  readonly #splitOf: number[] = [];
  readonly #lineOf: number[] = [];
  readonly #labels: string[] = [];
  readonly #numberOf = new Map<string, number>();
  readonly #bad: { readonly line: number; readonly problem: string }[] = [];
  #badCount = 0;
  #lineWithSplit: number | undefined;
  #lineWithoutSplit: number | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  refuse(line: number, problem: string): void {
    this.#badCount++;
    this.#bad.push({ line, problem });
    if (this.#bad.length > 2 * BAD_LINES_NAMED_MAX) this.#trimBad();
  }

  add(line: number, uri: string, label: string, split: string | undefined): void {
    const problem = uriProblem(uri);
    if (problem !== undefined) return this.refuse(line, problem);
    if (label === "") return this.refuse(line, "expected a label, found an empty one");
    const word = split?.trim() ?? "";
    const given = splitOfWord(word);
    if (word !== "" && given === undefined)
      return this.refuse(line, `expected the split train, validation or test, found ${JSON.stringify(split)}`);
    if (given === undefined) this.#lineWithoutSplit ??= line;
    else this.#lineWithSplit ??= line;

    let number = this.#numberOf.get(label);
    if (number === undefined) {
      number = this.#labels.push(label) - 1;
      this.#numberOf.set(label, number);
    }
    this.#uris.push(uri);
    this.#labelOf.push(number);
    this.#splitOf.push(given === undefined ? 0 : splitNames.indexOf(given));
    this.#lineOf.push(line);
  }

  build(): ManifestTable {
    // An array's sort, unlike a typed one's, is quick where the lines are sorted already.
    const order = Array.from(this.#uris, (_, row) => row).sort(
      (a, b) => compareUtf8(this.#uris[a] as string, this.#uris[b] as string) || a - b,
    );
    for (let index = 1; index < order.length; index++) {
      const [before, row] = [order[index - 1] as number, order[index] as number];
      if (this.#uris[before] === this.#uris[row]) {
        this.refuse(
          this.#lineOf[row] as number,
          `${JSON.stringify(this.#uris[row])} is named in line ${this.#lineOf[before] ?? 0} already`,
        );
      }
    }
    if (this.#lineWithSplit !== undefined && this.#lineWithoutSplit !== undefined) {
      this.refuse(this.#lineWithoutSplit, `expected a split, as in line ${this.#lineWithSplit}, found none`);
    }
    if (this.#badCount > 0) throw this.#complaint();
    if (order.length === 0) throw new CodedError("DATASET_INVALID", `${this.#name}: expected lines that name pictures, found none`);
    return {
      uris: order.map((row) => this.#uris[row] as string),
      labels: this.#labels,
      labelOf: Uint32Array.from(order, (row) => this.#labelOf[row] as number),
      splitOf: this.#lineWithSplit === undefined ? undefined : Uint8Array.from(order, (row) => this.#splitOf[row] as number),
      lineOf: Uint32Array.from(order, (row) => this.#lineOf[row] as number),
    };
  }

  #complaint(): CodedError {
    this.#trimBad();
    const named = this.#bad.map(({ line, problem }) => `line ${line}: ${problem}`);
    const more = this.#badCount - named.length;
    return new CodedError(
      "DATASET_INVALID",
      `${this.#name}: ${this.#badCount} bad lines; ${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
      { lines: this.#bad.map(({ line }) => line) },
    );
  }

  #trimBad(): void {
    this.#bad.sort((a, b) => a.line - b.line);
    this.#bad.length = Math.min(this.#bad.length, BAD_LINES_NAMED_MAX);
  }
}

/** A manifest is untrusted: it may only name what lies under its own folder. */
function uriProblem(uri: string): string | undefined {
  const shown = JSON.stringify(uri);
  if (uri === "") return "expected a uri, found an empty one";
  if (uri.startsWith("/") || /^[A-Za-z]:[\\/]/.test(uri) || /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(uri))
    return `expected a path relative to the manifest, found ${shown}`;
  if (uri.includes("\0")) return `expected a path without NUL, found ${shown}`;
  const segments = uri.split("/");
  if (segments.includes("..")) return `expected a path under the manifest's folder, found ${shown}`;
  if (segments.includes(".") || segments.includes("")) return `expected a plain path without "." and empty parts, found ${shown}`;
  return undefined;
}

function decodeUtf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new CodedError(
      "DATASET_INVALID",
      `${name}: expected a UTF-8 text of at most 512 MiB, found ${bytes.length} bytes that are not; save it as UTF-8`,
      {},
      cause,
    );
  }
}
