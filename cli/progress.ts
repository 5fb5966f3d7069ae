import { MultiBar, Presets, type SingleBar } from "cli-progress";
import { type JobEvent, renderEvent, renderEventJson } from "../domain/job/events.js";
import { count, duration } from "../domain/job/figures.js";
import { ShownEvaluations } from "./shown-evaluations.js";

/** Shows what a job announces. `close` takes bars off the screen, once or several times. */
export interface Progress {
  readonly announce: (event: JobEvent) => void;
  readonly close: () => void;
}

/** Where progress goes: stdout, or what a test looks at. */
export type ProgressStream = Pick<NodeJS.WriteStream, "write"> & { readonly isTTY?: boolean; readonly columns?: number };

/** Bars on a terminal, plain lines otherwise, one JSON object a line with --json. */
export function openProgress(json: boolean, stream: ProgressStream & NodeJS.WritableStream = process.stdout): Progress {
  if (json) return { announce: (event) => stream.write(`${renderEventJson(event)}\n`), close: () => undefined };
  const shown = new ShownEvaluations();
  const { announce, close } = stream.isTTY === true ? bars(stream) : lines(stream);
  return {
    announce(event) {
      for (const each of shown.next(event)) announce(each);
      if (event.kind === "phase" && event.phase === "Evaluating" && shown.hidden > 0)
        announce({
          kind: "warning",
          message: `${count(shown.hidden)} more evaluations are not shown here; the report has them all, and so does --json`,
        });
    },
    close,
  };
}

/** How often the same kind of progress is worth a line in a log. */
const LINE_INTERVAL_MS = 2_000;

function lines(stream: ProgressStream): Progress {
  const last = new Map<string, number>();
  let extracted = false;
  const isDue = (event: JobEvent): boolean => {
    if (event.kind === "extraction") {
      const wasExtracted = extracted;
      extracted = event.done === event.total;
      if (extracted) return !wasExtracted; // the last commit and the last heartbeat say the same
    }
    if (event.kind === "step") return event.step === event.steps || isLate("step", event.step > 1);
    if (event.kind !== "extraction" && event.kind !== "scan") return true;
    return isLate(event.kind, true);
  };
  /** The first of a kind counts as due only where it says something. */
  const isLate = (kind: string, first: boolean): boolean => {
    const now = performance.now();
    const before = last.get(kind);
    if (before === undefined ? !first : now - before < LINE_INTERVAL_MS) {
      if (before === undefined) last.set(kind, now);
      return false;
    }
    last.set(kind, now);
    return true;
  };
  let previous = "";
  return {
    announce(event) {
      const line = renderEvent(event);
      if (!isDue(event) || line === previous) return;
      previous = line;
      stream.write(`${line}\n`);
    },
    close: () => undefined,
  };
}

const CLEAR_RIGHT = "\x1b[K";
/** Bars are cut off at the terminal's width, what is logged goes on in the next row. */
const WRAP_ON = "\x1b[?7h";
const WRAP_OFF = "\x1b[?7l";
const barFormat = "{name} {bar} {percentage}% | {value}/{total} | {detail} | {time}";
/** How many pictures a folder holds is known when it is listed. */
const scanFormat = "{name} {count} pictures {detail}";

function bars(stream: ProgressStream & NodeJS.WritableStream): Progress {
  const screen = new MultiBar(
    {
      stream,
      hideCursor: true,
      clearOnComplete: false,
      gracefulExit: false,
      barsize: (stream.columns ?? 80) < 100 ? 16 : 30,
      format: barFormat,
      emptyOnZero: true,
      fps: 15,
      autopadding: true,
      forceRedraw: true, // bars move down when a line is logged above them
    },
    Presets.shades_classic,
  );
  const shown = new Map<string, { readonly bar: SingleBar; readonly startMs: number; readonly startValue: number }>();
  const update = (name: string, value: number, total: number, detail: string): void => {
    const now = performance.now();
    let row = shown.get(name);
    if (row === undefined) {
      const payload = { name: name.padEnd(8), detail, time: "", count: count(value) };
      row = { bar: screen.create(total, value, payload, name === "scan" ? { format: scanFormat } : {}), startMs: now, startValue: value };
      shown.set(name, row);
    }
    const seconds = (now - row.startMs) / 1000;
    const rate = (value - row.startValue) / seconds;
    const left = value === total ? `in ${duration(seconds)}` : rate > 0 && seconds > 1 ? `${duration((total - value) / rate)} left` : "";
    row.bar.setTotal(total);
    row.bar.update(value, { detail, time: left, count: count(value) });
  };
  let isOpen = true;
  return {
    announce(event) {
      switch (event.kind) {
        case "scan":
          return update("scan", event.pictures, event.pictures, "");
        case "extraction": {
          const parts = [
            event.imagesPerSecond > 0 ? `${event.imagesPerSecond.toFixed(0)} images/s` : "",
            event.cached > 0 ? `${count(event.cached)} cached` : "",
            event.rejected > 0 ? `${count(event.rejected)} rejected` : "",
          ];
          return update("extract", event.done, event.total, parts.filter((part) => part !== "").join(", "));
        }
        case "step":
          return update(
            "train",
            event.step,
            event.steps,
            event.millisecondsPerStep > 0 ? `${event.millisecondsPerStep.toFixed(2)} ms/step` : "",
          );
        case "phase":
          if (event.phase !== "Evaluating" && event.phase !== "Exporting") return;
          break;
        default:
      }
      const line = renderEvent(event);
      // Without a bar nothing would draw what is logged. A logged line takes the place of a bar, of which nothing may remain to its right.
      if (isOpen && shown.size > 0) screen.log(`${WRAP_ON}${line.replaceAll("\n", `${CLEAR_RIGHT}\n`)}${CLEAR_RIGHT}\n${WRAP_OFF}`);
      else stream.write(`${line}\n`);
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      if (shown.size === 0) return;
      screen.update(); // draws what was logged last
      screen.stop();
    },
  };
}
