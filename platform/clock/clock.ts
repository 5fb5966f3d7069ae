/** The only source of time. Tests and simulations pass a virtual one. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds on a clock that never goes back; for durations. */
  monotonic(): number;
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}
