import type { Clock } from "../../platform/clock/clock.js";

/** Wakes everyone who waits for something to change. */
export class Bell {
  private readonly waiting = new Set<() => void>();

  ring(): void {
    for (const wake of this.waiting) wake();
    this.waiting.clear();
  }

  /** Resolves with the next ring, after `timeoutMs`, or when the signal aborts. */
  async next(clock: Clock, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const over = new AbortController();
    let wake = (): void => undefined;
    const rung = new Promise<void>((resolve) => (wake = resolve));
    this.waiting.add(wake);
    const ended = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    await Promise.race([rung, clock.sleep(timeoutMs, ended).catch(() => undefined)]);
    this.waiting.delete(wake);
    over.abort();
  }
}
