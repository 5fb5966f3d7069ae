import type { Clock } from "../../platform/clock/clock.js";

/** Any moment will do; this one is 2026-01-01. */
const START_MS = 1_767_225_600_000;

interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/** Why `run` came back. "stuck": nothing is left that could ever happen. */
export type RunEnd = "done" | "late" | "stuck";

/**
 * Time that moves only when a test lets it pass, or in `run`: when everything that can happen now has happened. Timers of one moment fire in the order in which they were set, so a run is a function of what it is given.
 * Between two moments all promises settle: what is simulated does no I/O, so that takes microtasks alone.
 */
export class VirtualClock implements Clock {
  #ms = 0;
  #order = 0;
  readonly #timers: Timer[] = [];
  /** Moments that were run. */
  ticks = 0;

  now(): number {
    return START_MS + this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  /** Calls `fire` after `delayMs`, which is rounded up to whole milliseconds. Returns what cancels it. */
  after(delayMs: number, fire: () => void): () => void {
    const timer: Timer = { atMs: this.#ms + Math.max(0, Math.ceil(delayMs)), order: this.#order++, fire, cancelled: false };
    this.#push(timer);
    return () => (timer.cancelled = true);
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        cancel();
        reject(signal?.reason as Error);
      };
      const cancel = this.after(durationMs, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      if (signal?.aborted === true) abort();
      else signal?.addEventListener("abort", abort, { once: true });
    });
  }

  /** Lets everything happen until `isDone`, or until `untilMs` is past. @throws Error after `ticksMax` moments: something goes in circles without waiting */
  async run(isDone: () => boolean, untilMs: number, ticksMax: number): Promise<RunEnd> {
    const lastTick = this.ticks + ticksMax;
    for (;;) {
      await settled();
      if (isDone()) return "done";
      const next = this.#next();
      if (next === undefined) return "stuck";
      if (next.atMs > untilMs) {
        this.#ms = untilMs;
        return "late";
      }
      if (++this.ticks > lastTick) throw new Error(`more than ${ticksMax} moments; the clock stands at ${this.#ms} ms`);
      this.#ms = next.atMs;
      for (let timer: Timer | undefined = next; timer?.atMs === this.#ms; timer = this.#next()) {
        this.#pop();
        timer.fire();
      }
    }
  }

  /** Lets so much time go by at once; who waits for a moment up to its end wakes. */
  pass(durationMs: number): void {
    const untilMs = this.#ms + durationMs;
    for (let timer = this.#next(); timer !== undefined && timer.atMs <= untilMs; timer = this.#next()) {
      this.#pop();
      this.#ms = timer.atMs;
      timer.fire();
    }
    this.#ms = untilMs;
  }

  /** The next timer that counts; cancelled ones before it are dropped. */
  #next(): Timer | undefined {
    while (this.#timers[0]?.cancelled === true) this.#pop();
    return this.#timers[0];
  }

  // A binary heap, the earliest timer first.

  #push(timer: Timer): void {
    const heap = this.#timers;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, timer)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#timers;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const child = right < heap.length && isBefore(heap[right]!, heap[left]!) ? right : left;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

/** A clock that only the test moves. To give others their turn takes no time. */
export class ManualClock extends VirtualClock {
  override sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return durationMs === 0 ? Promise.resolve() : super.sleep(durationMs, signal);
  }
}

/** A clock that each sleep moves to its end at once. `onSleep` may make a sleeper wait for an event. */
export function virtualClock(onSleep: (durationMs: number) => Promise<void> | undefined = () => undefined): Clock {
  return new SleptClock(onSleep);
}

class SleptClock extends VirtualClock {
  readonly #onSleep: (durationMs: number) => Promise<void> | undefined;

  constructor(onSleep: (durationMs: number) => Promise<void> | undefined) {
    super();
    this.#onSleep = onSleep;
  }

  override async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.pass(durationMs);
    await (this.#onSleep(durationMs) ?? settled());
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Resolves when no promise can settle any more without a timer. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
