/**
 * Carries partial sums of the step in flight. It may lose, repeat and reorder messages: nothing that may not be lost travels here.
 * Every adapter passes test/conformance/gradient-bus.ts.
 */
export interface GradientBus {
  /** Largest payload in bytes. */
  readonly payloadBytesMax: number;
  publish(subject: string, payload: Uint8Array): void;
  /** Calls `handler` for each message from now on. The payload belongs to the handler. A handler that throws ends neither the subscription nor the process. */
  subscribe(subject: string, handler: (payload: Uint8Array) => void): Subscription;
  close(): Promise<void>;
}

export interface Subscription {
  unsubscribe(): void;
}
