import { CodedError } from "../../domain/errors.js";
import type { ClassScores } from "../../domain/training/evaluation.js";

/** `metrics.json`: the numbers of a finished job. Where there is no such split, or nothing was measured, a field is null; none is ever missing. */
export interface Metrics {
  readonly formatVersion: 1;
  readonly classes: readonly string[];
  readonly train: { readonly accuracy: number | null; readonly loss: number | null; readonly count: number; readonly steps: number };
  readonly validation: SplitMetrics;
  readonly test: SplitMetrics;
  /** Of the split that the result is judged by: test where there is one, else validation, else null. */
  readonly perClass: { readonly split: "test" | "validation"; readonly classes: readonly ClassMetrics[] } | null;
  /** Rule: `weightsSha256` in domain/training/parameters.ts. */
  readonly weightsSha256: string;
  readonly extraction: {
    readonly extracted: number;
    readonly cached: number;
    readonly rejected: number;
    /** Null where nothing was extracted. */
    readonly imagesPerSecond: number | null;
  };
  readonly training: { readonly millisecondsPerStep: number | null };
}

export interface SplitMetrics {
  readonly accuracy: number | null;
  readonly loss: number | null;
  readonly count: number | null;
}

export interface ClassMetrics extends ClassScores {
  readonly label: string;
}

export const noSplit: SplitMetrics = { accuracy: null, loss: null, count: null };

/**
 * The file's text, two spaces deep, fields in one order.
 * @throws CodedError TRAINING_DIVERGED where a number is not finite: JSON would turn it into null, which means something else.
 */
export function encodeMetrics(metrics: Metrics): string {
  return `${JSON.stringify(ordered(metrics), finiteOnly, 2)}\n`;
}

/** Written field by field, so that neither order nor extra fields of the caller's object reach the file. */
function ordered({ classes, train, validation, test, perClass, weightsSha256, extraction, training }: Metrics): Metrics {
  const split = ({ accuracy, loss, count }: SplitMetrics): SplitMetrics => ({ accuracy, loss, count });
  return {
    formatVersion: 1,
    classes,
    train: { accuracy: train.accuracy, loss: train.loss, count: train.count, steps: train.steps },
    validation: split(validation),
    test: split(test),
    perClass: perClass && {
      split: perClass.split,
      classes: perClass.classes.map(({ label, precision, recall, f1, support }) => ({ label, precision, recall, f1, support })),
    },
    weightsSha256,
    extraction: {
      extracted: extraction.extracted,
      cached: extraction.cached,
      rejected: extraction.rejected,
      imagesPerSecond: extraction.imagesPerSecond,
    },
    training: { millisecondsPerStep: training.millisecondsPerStep },
  };
}

function finiteOnly(field: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new CodedError(
      "TRAINING_DIVERGED",
      `metrics: ${field} is ${value}, a finite number was expected; train again with a smaller learning rate`,
    );
  }
  return value;
}
