import { byteSize, count, decimals, duration, printable } from "./figures.js";
import type { Figure, Plan } from "./plan.js";
import type { Speed } from "./plan-costs.js";

/** Classes that are listed one by one. */
const CLASSES_SHOWN = 30;

/** The plan as aligned plain text, without a line feed at the end. ≈ marks what is an estimate. */
export function renderPlan(plan: Plan): string {
  const { extraction, training, features } = plan;
  const cost: (readonly [string, string])[] = [
    [
      "dataset",
      `${printable(plan.source)}: ${count(plan.pictures, "picture")} in ${plan.classes.length} class${plan.classes.length === 1 ? "" : "es"}`,
    ],
    [
      "backbone",
      `${printable(plan.backbone.name)} (${plan.backbone.digest.slice(0, 12)}), cut ${printable(plan.backbone.cut)}, ${giga(extraction.multiplyAddsPerImage)} a picture`,
    ],
    [
      "feature",
      `[${features.shape.join(", ")}] ${features.dtype}, ${byteSize(features.bytes)} a picture${features.views > 1 ? `, ${count(features.views, "view")} of each training picture` : ""}`,
    ],
    ["cached", `${figure(extraction.cached)} of ${count(plan.pictures)}`],
    [
      "to extract",
      `${figure(extraction.toExtract)} pictures; ${count(extraction.tasks, "task")} of up to ${count(extraction.taskPictures, "picture")}, ${count(extraction.extractors, "extractor")}`,
    ],
    ["to write", extraction.toExtract.value === 0 ? "nothing" : `≈ ${byteSize(extraction.bytesToWrite)} of features and thumbnails`],
    [
      "extraction",
      extraction.toExtract.value === 0
        ? "no time: everything is cached"
        : `≈ ${duration(extraction.seconds)} at ${speed(extraction.imagesPerSecond, 0, "images/s")}`,
    ],
    ["trained", `${count(training.parameters, "parameter")}, ${giga(training.multiplyAddsPerRow)} a row`],
    [
      "steps",
      `${figure(training.steps)} of ${training.batchSize} rows in ${count(training.grains, "grain")}, evaluated every ${count(training.evaluateEverySteps, "step")}`,
    ],
    ["training", `≈ ${duration(training.seconds)} at ${speed(training.millisecondsPerStep, 2, "ms/step")}`],
    [
      "trainers",
      `${training.trainers} (${training.trainersReason})${training.exchangeBytesPerStep === 0 ? "" : `, ${byteSize(training.exchangeBytesPerStep)} exchanged a step`}`,
    ],
    ["memory", `≈ ${byteSize(extraction.memoryBytes)} an extractor, ≈ ${byteSize(training.memoryBytes)} a trainer`],
  ];
  const sections = [
    aligned(cost, ["left", "left"]),
    aligned(classTable(plan), ["left", "right", "right", "right"]),
    ...(plan.countsExact ? [] : ["≈ estimated: not every picture's identity is known yet; --read counts"]),
    ...plan.notes.map((note) => `note: ${note}`),
    ...plan.obstacles.map(({ message }) => `cannot run: ${message}`),
  ];
  return sections.join("\n");
}

function classTable({ classes, counts, countsExact }: Plan): string[][] {
  const mark = countsExact ? "" : "≈ ";
  const cells = (of: (values: readonly number[]) => number): string[] =>
    [counts.train, counts.validation, counts.test].map((values) => `${mark}${count(of(values))}`);
  const rows = classes.slice(0, CLASSES_SHOWN).map((name, index) => [printable(name), ...cells((values) => values[index] ?? 0)]);
  const rest = classes.length - CLASSES_SHOWN;
  if (rest > 0)
    rows.push([`and ${count(rest)} more`, ...cells((values) => values.slice(CLASSES_SHOWN).reduce((sum, value) => sum + value, 0))]);
  return [["class", "train", "validation", "test"], ...rows, ["all", ...cells((values) => values.reduce((sum, value) => sum + value, 0))]];
}

function aligned(rows: readonly (readonly string[])[], sides: readonly ("left" | "right")[]): string {
  const widths = sides.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (sides[column] === "right" ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}

function figure({ value, exact }: Figure): string {
  return `${exact ? "" : "≈ "}${count(value)}`;
}

function speed({ value, origin }: Speed, places: number, unit: string): string {
  return `${decimals(value, places)} ${unit} (${origin})`;
}

function giga(multiplyAdds: number): string {
  const [value, unit] =
    multiplyAdds >= 1e9 ? [multiplyAdds / 1e9, "G"] : multiplyAdds >= 1e6 ? [multiplyAdds / 1e6, "M"] : [multiplyAdds / 1e3, "k"];
  return `${decimals(value, value >= 100 ? 0 : 1)} ${unit} multiply-adds`;
}
