import type { Clock } from "../../platform/clock/clock.js";

/** Wakes everyone who waits for something to change. */
export class Bell {
  private readonly waiting = new Set<() => void>();

  ring(): void {
    for (const wake of this.waiting) wake();
    this.waiting.clear();
  }

  /** Resolves with the next ring, after `timeoutMs` where given, or when the signal aborts. */
  async next(clock: Clock, timeoutMs: number | undefined, signal?: AbortSignal): Promise<void> {
    const over = new AbortController();
    const ended = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    let wake = (): void => undefined;
    const rung = new Promise<void>((resolve) => (wake = resolve));
    this.waiting.add(wake);
    signal?.addEventListener("abort", wake, { once: true, signal: over.signal });
    if (signal?.aborted === true) wake();
    const expiry = timeoutMs === undefined ? [] : [clock.sleep(timeoutMs, ended).catch(() => undefined)];
    await Promise.race([rung, ...expiry]);
    this.waiting.delete(wake);
    over.abort();
  }
}
