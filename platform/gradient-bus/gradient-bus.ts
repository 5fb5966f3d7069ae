/**
 * Carries partial sums of the step in flight. It may lose, repeat and reorder messages: nothing that may not be lost travels here.
 * Every adapter passes test/conformance/gradient-bus.ts.
 */
export interface GradientBus {
  /** Largest payload in bytes. */
  readonly payloadBytesMax: number;
  /** The payload is sent as it is; from now on nobody changes it, so that nobody needs to copy it. */
  publish(subject: string, payload: Uint8Array): void;
  /** Calls `handler` for each message from now on. The handler may keep the payload, not change it: others may hold the same. A handler that throws ends neither the subscription nor the process. */
  subscribe(subject: string, handler: (payload: Uint8Array) => void): Subscription;
  close(): Promise<void>;
}

export interface Subscription {
  unsubscribe(): void;
}
