/** Lets any number of operations run together, or one alone. An operation that waits to be alone holds back those that come after it. */
export class DecodeGate {
  #running = 0;
  #closed: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;

  async shared<T>(operation: () => Promise<T>): Promise<T> {
    while (this.#closed !== undefined) await this.#closed;
    this.#running++;
    try {
      return await operation();
    } finally {
      this.#running--;
      if (this.#running === 0) this.#onIdle?.();
    }
  }

  async alone<T>(operation: () => Promise<T>): Promise<T> {
    while (this.#closed !== undefined) await this.#closed;
    let open = (): void => {};
    this.#closed = new Promise((resolve) => {
      open = resolve;
    });
    try {
      if (this.#running > 0) {
        await new Promise<void>((resolve) => {
          this.#onIdle = resolve;
        });
      }
      return await operation();
    } finally {
      this.#onIdle = undefined;
      this.#closed = undefined;
      open();
    }
  }
}
