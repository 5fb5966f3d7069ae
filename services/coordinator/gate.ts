/** Hands what a phase opens to the workers that wait for it. */
export class Gate<T> {
  current: T | undefined;
  private closed = false;
  private readonly waiting = new Set<() => void>();

  open(value: T): void {
    this.current = value;
    this.wake();
  }

  /** Nothing is open until the next `open`. */
  shut(): void {
    this.current = undefined;
  }

  close(): void {
    this.closed = true;
    this.wake();
  }

  /** What is open and not `known`, as soon as there is such. */
  async next(known: T | undefined): Promise<T | "closed"> {
    for (;;) {
      if (this.closed) return "closed";
      if (this.current !== undefined && this.current !== known) return this.current;
      await new Promise<void>((resolve) => this.waiting.add(resolve));
    }
  }

  private wake(): void {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }
}
