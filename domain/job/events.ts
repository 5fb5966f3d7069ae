import type { ErrorCode } from "../errors.js";
import { count, decimals, duration, percentOf, printable } from "./figures.js";
import type { Phase } from "./transitions.js";

/** What a running job announces. An announcement may be lost; the facts are in the store. */
export type JobEvent =
  | { readonly kind: "phase"; readonly phase: Phase }
  | { readonly kind: "scan"; readonly pictures: number }
  /** `text` is `renderPlan`'s. */
  | { readonly kind: "plan"; readonly plan: unknown; readonly text: string }
  | ExtractionProgress
  | { readonly kind: "step"; readonly step: number; readonly steps: number; readonly millisecondsPerStep: number }
  | EvaluationEvent
  | { readonly kind: "warning"; readonly message: string }
  | CompleteEvent
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

export interface ExtractionProgress {
  readonly kind: "extraction";
  /** Pictures whose outcome is known, cached and rejected ones included. */
  readonly done: number;
  readonly total: number;
  readonly cached: number;
  readonly rejected: number;
  /** Of the pictures that were decoded; 0 before the first. */
  readonly imagesPerSecond: number;
}

export interface EvaluationEvent {
  readonly kind: "evaluation";
  readonly step: number;
  readonly epoch: number;
  /** Mean training loss since the last evaluation; null before the first step. */
  readonly crossEntropy: number | null;
  /** In [0, 1]; null before the first step. */
  readonly trainAccuracy: number | null;
  /** Both null where there are no validation pictures. */
  readonly validationLoss: number | null;
  readonly validationAccuracy: number | null;
  readonly validationCount: number;
  /** Since training began. */
  readonly seconds: number;
}

export interface CompleteEvent {
  readonly kind: "complete";
  /** Null where there are no test pictures. */
  readonly testAccuracy: number | null;
  readonly testCount: number;
  readonly weightsSha256: string;
  /** Where the result lies. */
  readonly location: string;
  readonly seconds: number;
}

const phaseText: Readonly<Record<Phase, string>> = {
  Pending: "waiting",
  Scanning: "listing the pictures",
  Planning: "planning",
  Extracting: "computing features",
  Training: "training",
  Evaluating: "evaluating on the test pictures",
  Exporting: "writing model and report",
  Complete: "complete",
  Failed: "failed",
  Cancelled: "cancelled",
};

/** One line for people, without line feed (a plan and a failure may have several). Control characters in messages are shown as escapes. */
export function renderEvent(event: JobEvent): string {
  switch (event.kind) {
    case "phase":
      return `${event.phase}: ${phaseText[event.phase]}`;
    case "scan":
      return `scan: ${count(event.pictures, "picture")}`;
    case "plan":
      return event.text;
    case "extraction": {
      const rate = event.imagesPerSecond > 0 ? `, ${decimals(event.imagesPerSecond, 0)} images/s` : "";
      const rejected = event.rejected > 0 ? `, ${count(event.rejected)} rejected` : "";
      return `extraction: ${count(event.done)} of ${count(event.total)} (${percentOf(event.done, event.total)}), ${count(event.cached)} cached${rejected}${rate}`;
    }
    case "step":
      return `step ${count(event.step)} of ${count(event.steps)}, ${decimals(event.millisecondsPerStep, 2)} ms/step`;
    case "evaluation": {
      const validation =
        event.validationAccuracy === null
          ? "no validation pictures"
          : `validation accuracy ${decimals(event.validationAccuracy * 100, 1)} % (N=${event.validationCount})`;
      return [
        `step ${event.step}`,
        `epoch ${decimals(event.epoch, 1)}`,
        ...(event.crossEntropy === null ? [] : [`cross entropy ${decimals(event.crossEntropy, 4)}`]),
        ...(event.trainAccuracy === null ? [] : [`train accuracy ${decimals(event.trainAccuracy * 100, 1)} %`]),
        validation,
        `${decimals(event.seconds, 1)} s`,
      ].join(", ");
    }
    case "warning":
      return `warning: ${printable(event.message)}`;
    case "complete": {
      const accuracy =
        event.testAccuracy === null
          ? "no test pictures"
          : `test accuracy ${decimals(event.testAccuracy * 100, 1)} % (N=${event.testCount})`;
      return `complete: ${accuracy}, ${duration(event.seconds)}, weights ${event.weightsSha256.slice(0, 12)}, result in ${printable(event.location)}`;
    }
    case "failed":
      return `failed: ${event.code}: ${event.message.split("\n").map(printable).join("\n")}`;
  }
}

/** The same as one line of JSON for programs. */
export function renderEventJson(event: JobEvent): string {
  if (event.kind !== "plan") return JSON.stringify(event);
  return JSON.stringify({ kind: event.kind, plan: event.plan });
}
