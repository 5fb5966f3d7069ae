import { MultiBar, Presets, type SingleBar } from "cli-progress";
import { type JobEvent, renderEvent, renderEventJson } from "../domain/job/events.js";

/** Shows what a job announces. `close` takes bars off the screen. */
export interface Progress {
  readonly announce: (event: JobEvent) => void;
  readonly close: () => void;
}

/** Bars on a terminal, plain lines otherwise, one JSON object a line with --json. */
export function openProgress(json: boolean): Progress {
  if (json) return { announce: (event) => process.stdout.write(`${renderEventJson(event)}\n`), close: () => undefined };
  return process.stdout.isTTY ? bars() : lines();
}

/** How often the same kind of progress is worth a line in a log. */
const LINE_INTERVAL_MS = 2_000;

function lines(): Progress {
  const last = new Map<string, number>();
  const isDue = (event: JobEvent): boolean => {
    if (event.kind === "extraction" && event.done === event.total) return true;
    if (event.kind === "step" && event.step === event.steps) return true;
    if (event.kind !== "extraction" && event.kind !== "step" && event.kind !== "scan") return true;
    const now = performance.now();
    if (now - (last.get(event.kind) ?? -Infinity) < LINE_INTERVAL_MS) return false;
    last.set(event.kind, now);
    return true;
  };
  let previous = "";
  return {
    announce(event) {
      const line = renderEvent(event);
      if (!isDue(event) || line === previous) return;
      previous = line;
      process.stdout.write(`${line}\n`);
    },
    close: () => undefined,
  };
}

function bars(): Progress {
  const screen = new MultiBar(
    {
      hideCursor: true,
      clearOnComplete: false,
      format: "{name} {bar} {percentage}% | {value}/{total} | {rate} | {eta_formatted} left",
      emptyOnZero: true,
    },
    Presets.shades_classic,
  );
  const shown = new Map<string, SingleBar>();
  const update = (name: string, value: number, total: number, rate: string): void => {
    let bar = shown.get(name);
    if (bar === undefined) {
      bar = screen.create(total, value, { name: name.padEnd(8), rate });
      shown.set(name, bar);
    }
    bar.setTotal(total);
    bar.update(value, { rate });
  };
  return {
    announce(event) {
      switch (event.kind) {
        case "scan":
          return update("scan", event.pictures, event.pictures, "pictures");
        case "extraction":
          return update("extract", event.done, event.total, `${event.imagesPerSecond.toFixed(0)} images/s, ${String(event.cached)} cached`);
        case "step":
          return update("train", event.step, event.steps, `${event.millisecondsPerStep.toFixed(2)} ms/step`);
        case "phase":
          return;
        default:
          screen.log(`${renderEvent(event)}\n`);
      }
    },
    close: () => screen.stop(),
  };
}
