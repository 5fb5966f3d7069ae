import type { Clock } from "../clock/clock.js";

/** An answer, and for how long it may be given again. */
export interface Answer<T> {
  readonly value: T;
  readonly keepMs: number;
}

interface Entry<T> {
  readonly value: Promise<T>;
  /** On the monotonic clock; Infinity while it is being asked. */
  untilMs: number;
}

/** Answers that are remembered for a while. Those who ask the same at the same time share one question; a failure is remembered for nobody. */
export class Answers<T> {
  private readonly clock: Clock;
  private readonly entriesMax: number;
  /** The least recently used first. */
  private readonly entries = new Map<string, Entry<T>>();

  constructor(clock: Clock, entriesMax: number) {
    this.clock = clock;
    this.entriesMax = entriesMax;
  }

  get size(): number {
    return this.entries.size;
  }

  get(key: string, ask: () => Promise<Answer<T>>): Promise<T> {
    const found = this.entries.get(key);
    this.entries.delete(key);
    const entry = found !== undefined && this.clock.monotonic() < found.untilMs ? found : this.asked(key, ask);
    this.entries.set(key, entry);
    for (const [oldest] of this.entries) {
      if (this.entries.size <= this.entriesMax) break;
      this.entries.delete(oldest);
    }
    return entry.value;
  }

  private asked(key: string, ask: () => Promise<Answer<T>>): Entry<T> {
    const answer = ask();
    const entry: Entry<T> = { value: answer.then(({ value }) => value), untilMs: Infinity };
    answer.then(
      ({ keepMs }) => {
        entry.untilMs = this.clock.monotonic() + keepMs;
      },
      () => {
        if (this.entries.get(key) === entry) this.entries.delete(key);
      },
    );
    return entry;
  }
}
