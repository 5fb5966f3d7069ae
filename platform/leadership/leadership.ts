/** Of several coordinators one leads: it alone writes. */
export interface Leadership {
  /** Resolves once this process leads, with a signal that aborts as soon as it may not be so any more: then it has to end. Rejects with the signal's reason. */
  lead(signal: AbortSignal): Promise<AbortSignal>;
  /** Lets another one lead at once. */
  release(): Promise<void>;
}
