import { headerBytes } from "../../domain/training/exchange/message.js";
import type { GradientBus } from "../../platform/gradient-bus/gradient-bus.js";
import type { Network } from "./network.js";
import type { SimulatedProcess } from "./process.js";

interface Listener {
  readonly process: SimulatedProcess;
  readonly handler: (payload: Uint8Array) => void;
}

export interface BusObserver {
  /** Every message at its publishing. */
  readonly published: (process: SimulatedProcess, payload: Uint8Array) => void;
  readonly handlerFailed: (process: SimulatedProcess, error: unknown) => void;
}

/** The broker: loses, repeats and reorders messages as the links allow. */
export class SimulatedBus {
  readonly #network: Network;
  readonly #observer: BusObserver;
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(network: Network, observer: BusObserver) {
    this.#network = network;
    this.#observer = observer;
  }

  /** The bus as one process sees it. */
  linkOf(process: SimulatedProcess): GradientBus {
    return {
      payloadBytesMax: headerBytes + 4 * 6, // several parts, and several messages a part
      publish: (subject, payload) => this.#publish(process, subject, payload),
      subscribe: (subject, handler) => {
        const listener = { process, handler };
        const listeners = this.#listeners.get(subject) ?? new Set();
        this.#listeners.set(subject, listeners.add(listener));
        return { unsubscribe: () => listeners.delete(listener) };
      },
      close: async () => undefined,
    };
  }

  #publish(process: SimulatedProcess, subject: string, payload: Uint8Array): void {
    if (!process.isAlive) return;
    this.#observer.published(process, payload);
    for (const listener of this.#listeners.get(subject) ?? []) {
      if (!listener.process.isAlive || !this.#isOpen(process, listener.process) || this.#network.drawFault("lost")) continue;
      for (let copies = this.#network.drawFault("repeated") ? 2 : 1; copies > 0; copies--)
        this.#deliver(process, listener, subject, payload.slice());
    }
  }

  #deliver(from: SimulatedProcess, listener: Listener, subject: string, payload: Uint8Array): void {
    this.#network.clock.after(this.#network.transitMs(), () => {
      if (!this.#isOpen(from, listener.process)) return;
      listener.process.post(() => {
        if (this.#listeners.get(subject)?.has(listener) !== true) return;
        try {
          listener.handler(payload);
        } catch (error) {
          this.#observer.handlerFailed(listener.process, error);
        }
      });
    });
  }

  #isOpen(from: SimulatedProcess, to: SimulatedProcess): boolean {
    const network = this.#network;
    return network.isOpen(from.host, "bus") && network.isOpen("bus", to.host) && network.isOpen(from.host, to.host);
  }
}
