/** One measured number. */
export interface Figure {
  /** The row that measured it: what `npm run bench -- ROW` runs. */
  readonly row: string;
  readonly name: string;
  /** Undefined where it could not be measured here; the note says why. */
  readonly value: number | undefined;
  readonly unit: string;
  /** What is wanted, where something is. */
  readonly wanted?: { readonly atLeast: number } | { readonly atMost: number };
  /** What it was measured on. */
  readonly note?: string;
}

/** Makes the figures of one row; `say` tells what is under way. */
export type Measure = (options: BenchOptions, say: (message: string) => void) => Promise<Figure[]>;

export interface BenchOptions {
  /** A folder of class folders. */
  readonly pictures: string;
  /** Repetitions, of which the median counts. */
  readonly rounds: number;
  /** Whether Keras and PyTorch are measured too. */
  readonly peers: boolean;
  /** A Python that has both; by default each has an environment of its own, which is made at the first use. */
  readonly python: string | undefined;
  /** An empty folder that is removed at the end. */
  readonly temporary: string;
}

export function isReached({ value, wanted }: Figure): boolean | undefined {
  if (wanted === undefined) return undefined;
  if (value === undefined) return false;
  return "atLeast" in wanted ? value >= wanted.atLeast : value <= wanted.atMost;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A table in Markdown, so that it can be pasted into an issue. */
export function renderTable(figures: readonly Figure[]): string {
  const lines = figures.map((figure) => [
    figure.row,
    figure.name,
    figure.value === undefined ? "not measured" : `${significant(figure.value)} ${figure.unit}`.trim(),
    wantedText(figure),
    { true: "yes", false: "NO", undefined: "" }[String(isReached(figure)) as "true" | "false" | "undefined"],
    figure.note ?? "",
  ]);
  const table = [["row", "what", "measured", "wanted", "reached", "on"], ...lines];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((line) => line[column]!.length)));
  const render = (line: readonly string[]): string => `| ${line.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  return [render(table[0]!), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...table.slice(1).map(render)].join("\n");
}

function wantedText({ wanted, unit }: Figure): string {
  if (wanted === undefined) return "";
  return ("atLeast" in wanted ? `>= ${wanted.atLeast} ${unit}` : `<= ${significant(wanted.atMost)} ${unit}`).trim();
}

/** Three digits, or all before the point. */
export function significant(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
