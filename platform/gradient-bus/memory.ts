import { limits } from "../../domain/limits.js";
import type { GradientBus } from "./gradient-bus.js";

/**
 * A bus within one process. Delivers in the order of publishing, later than `publish` returns.
 * What a handler throws goes to `onHandlerError`, never to the publisher.
 */
export function memoryGradientBus(
  onHandlerError: (error: unknown) => void,
  payloadBytesMax: number = limits.exchangeMessageBytes,
): GradientBus {
  const handlers = new Map<string, Set<(payload: Uint8Array) => void>>();
  let queue: { handler: (payload: Uint8Array) => void; subscribers: Set<(payload: Uint8Array) => void>; payload: Uint8Array }[] = [];
  let delivery: NodeJS.Immediate | undefined;
  let closed = false;

  function deliver(): void {
    const messages = queue;
    queue = [];
    delivery = undefined;
    for (const { handler, subscribers, payload } of messages) {
      if (!subscribers.has(handler)) continue;
      try {
        handler(payload);
      } catch (error) {
        onHandlerError(error);
      }
    }
  }

  return {
    payloadBytesMax,
    publish(subject, payload) {
      if (closed) throw new Error(`the gradient bus is closed: nothing can be published to ${subject}`);
      if (payload.length > payloadBytesMax)
        throw new RangeError(`a message of ${payload.length} bytes to ${subject}; at most ${payloadBytesMax} are allowed`);
      const subscribers = handlers.get(subject);
      for (const handler of subscribers ?? []) queue.push({ handler, subscribers: subscribers as Set<typeof handler>, payload });
      if (queue.length > 0) delivery ??= setImmediate(deliver);
    },
    subscribe(subject, handler) {
      if (closed) throw new Error(`the gradient bus is closed: nothing can be heard on ${subject}`);
      // A function of its own for each subscription, so that one handler may listen twice.
      const own = (payload: Uint8Array): void => handler(payload);
      const subscribers = handlers.get(subject) ?? new Set();
      handlers.set(subject, subscribers.add(own));
      return {
        unsubscribe() {
          subscribers.delete(own);
          if (subscribers.size === 0 && handlers.get(subject) === subscribers) handlers.delete(subject);
        },
      };
    },
    close() {
      closed = true;
      for (const subscribers of handlers.values()) subscribers.clear();
      handlers.clear();
      queue = [];
      if (delivery !== undefined) clearImmediate(delivery);
      return Promise.resolve();
    },
  };
}
