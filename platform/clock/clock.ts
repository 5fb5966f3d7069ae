/** The only source of time. Tests and simulations pass a virtual one. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds on a clock that never goes back; for durations. */
  monotonic(): number;
  /** 0: until everything else that is ready on this thread has had its turn. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}
