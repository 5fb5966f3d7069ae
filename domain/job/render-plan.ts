import { INPUT } from "../network/network.js";
import { byteSize, count, decimals, duration, printable } from "./figures.js";
import type { Figure, Plan } from "./plan.js";
import type { Speed } from "./plan-costs.js";
import { memoryText } from "./plan-remarks.js";

/** Classes that are listed one by one. */
const CLASSES_SHOWN = 30;

type Row = readonly [name: string, text: string];

/** The plan as aligned plain text, without a line feed at the end. ≈ marks what is an estimate. */
export function renderPlan(plan: Plan): string {
  const { extraction, training } = plan;
  const cost: Row[] = [
    [
      "dataset",
      `${printable(plan.source)}: ${count(plan.pictures, "picture")} in ${plan.classes.length} class${plan.classes.length === 1 ? "" : "es"}`,
    ],
    ["backbone", backboneText(plan)],
    ["feature", featureText(plan)],
    ...extractionRows(plan),
    ...trainingRows(plan),
    [
      "memory",
      `≈ ${byteSize(extraction.memoryBytes)} an extractor, ≈ ${byteSize(training.memory.total)} a trainer (${memoryText(training.memory)})`,
    ],
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

function backboneText({ backbone, extraction }: Plan): string {
  const { cut, lastLayer, size } = backbone;
  const whole = cut === lastLayer ? "" : `, used up to ${printable(lastLayer)}`;
  const frozen = cut === INPUT ? "nothing frozen" : `frozen up to ${printable(cut)}, ${giga(extraction.multiplyAddsPerImage)} a picture`;
  return `${printable(backbone.name)} (${backbone.digest.slice(0, 12)}) at ${size} x ${size}${whole}: ${frozen}`;
}

function featureText({ features: { shape, dtype, pixels, bytes, views } }: Plan): string {
  const what = pixels ? "the picture itself, " : "";
  const each = views > 1 ? `, ${count(views, "view")} of each training picture` : "";
  return `${what}[${shape.join(", ")}] ${dtype}, ${byteSize(bytes)} a picture${each}`;
}

function extractionRows({ pictures, features, extraction }: Plan): Row[] {
  const { cached, toExtract, viewsToExtract } = extraction;
  const nothing = toExtract.value === 0;
  const views = features.views > 1 ? ` in ${count(viewsToExtract.value, "view")}` : "";
  const tasks = `${count(extraction.tasks, "task")} of up to ${count(extraction.taskPictures, "picture")}`;
  const time = `≈ ${duration(extraction.seconds)} at ${speed(extraction.imagesPerSecond, extraction.imagesPerSecond.value < 10 ? 1 : 0, "images/s")}, engine ${extraction.engine}`;
  return [
    ["cached", `${figure(cached)} of ${count(pictures)}${features.views > 1 ? " with every view" : ""}`],
    [
      "to extract",
      `${figure(toExtract)} picture${toExtract.value === 1 ? "" : "s"}${views}; ${tasks}, ${count(extraction.extractors, "extractor")}`,
    ],
    ["to write", nothing ? "nothing" : `≈ ${byteSize(extraction.bytesToWrite)} of features and thumbnails`],
    ["extraction", nothing ? "no time: everything is cached" : time],
  ];
}

function trainingRows({ training }: Plan): Row[] {
  const { tail, head, batchNorm, parameters } = training;
  const parts = `tail ${count(tail.parameters)} in ${count(tail.layers, "layer")}, head ${count(head.parameters)} in ${count(head.layers, "layer")}`;
  const exchanged = training.exchangeBytesPerStep === 0 ? "" : `, ${byteSize(training.exchangeBytesPerStep)} exchanged a step`;
  return [
    [
      "trained",
      `${count(parameters, "parameter")}${tail.layers > 0 ? ` (${parts})` : " of the head"}, ${giga(training.multiplyAddsPerRow)} a row`,
    ],
    ...(batchNorm === null ? [] : [["batch norm", batchNormText(batchNorm)] as const]),
    ["start", startText(training)],
    [
      "steps",
      `${figure(training.steps)} of ${training.batchSize} rows in ${count(training.grains, "grain")}, evaluated every ${count(training.evaluateEverySteps, "step")}`,
    ],
    ["rows", rowsText(training)],
    [
      "training",
      `≈ ${duration(training.seconds)} at ${speed(training.millisecondsPerStep, training.millisecondsPerStep.value < 100 ? 2 : 0, "ms/step")}, engine ${training.engine}`,
    ],
    ["trainers", `${training.trainers} (${training.trainersReason})${exchanged}`],
  ];
}

function rowsText({ rows: { bytes, memoryBytes, windowRows }, grains }: Plan["training"]): string {
  if (windowRows === null) return `resident: ${byteSize(bytes)} of features in memory`;
  return `streamed: ${byteSize(bytes)} of features are more than training.featureMemoryMib (${byteSize(memoryBytes)}) and are copied into lanes once; window of ${count(windowRows, "row")} for each of ${count(grains, "grain")}`;
}

function batchNormText({ mode, statistics }: NonNullable<Plan["training"]["batchNorm"]>): string {
  return mode === "FROZEN"
    ? `FROZEN: normalised with the ${count(statistics)} moving statistics, which stay`
    : `BATCH: normalised with the statistics of each grain, which move ${count(statistics)}`;
}

function startText({ tail, start }: Plan["training"]): string {
  const { weights, headFromClass, initializer } = start;
  const drawn = initializer.kind === "truncatedNormal" ? `truncatedNormal (deviation ${initializer.stddev})` : initializer.kind;
  const output = headFromClass === null ? "" : `; the output from the backbone's class "${printable(headFromClass)}"`;
  if (weights.kind === "result") return `the tensors of ${printable(weights.from)}`;
  const head = `the head from ${drawn}`;
  if (tail.layers === 0) return head + output;
  return weights.kind === "random" ? `random weights: all from ${drawn}${output}` : `the tail from the backbone, ${head}${output}`;
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
