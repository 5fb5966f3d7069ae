import type { Clock } from "../../platform/clock/clock.js";

/**
 * One process of the simulated cluster. Its code runs only between calls of ports, and every port is given through this class: so a killed process never goes on,
 * and nothing that it still tries has an effect; what comes to a frozen one waits until it is thawed.
 */
export class SimulatedProcess {
  readonly name: string;
  /** The machine it is on, which outlives it: what links are between. */
  readonly host: string;
  readonly clock: Clock;
  /** Asks the process to end, as SIGTERM does. */
  readonly stop = new AbortController();
  #state: "running" | "frozen" | "dead" = "running";
  #held: (() => void)[] = [];

  constructor(name: string, host: string, clock: Clock) {
    this.name = name;
    this.host = host;
    this.clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      sleep: (durationMs, signal) => this.call(() => clock.sleep(durationMs, signal)),
    };
  }

  get isAlive(): boolean {
    return this.#state !== "dead";
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  kill(): void {
    this.#state = "dead";
    this.#held = [];
  }

  /** SIGSTOP. */
  freeze(): void {
    if (this.#state === "running") this.#state = "frozen";
  }

  /** SIGCONT: what came meanwhile happens now, in its order. */
  thaw(): void {
    if (this.#state !== "frozen") return;
    this.#state = "running";
    const held = this.#held;
    this.#held = [];
    for (const effect of held) this.post(effect);
  }

  /** Lets something happen in this process: now, when it is thawed, or never. */
  post(effect: () => void): void {
    if (this.#state === "running") effect();
    else if (this.#state === "frozen") this.#held.push(effect);
  }

  /** A call of a port by this process: nothing leaves a dead one, and the answer arrives by `post`. */
  call<T>(operation: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.isAlive) return;
      operation().then(
        (value) => this.post(() => resolve(value)),
        (error: Error) => this.post(() => reject(error)),
      );
    });
  }
}
