import type { RandomStream } from "../../domain/random.js";
import type { VirtualClock } from "../support/virtual-clock.js";

/** How bad the links are. Shares are out of 1. */
export interface LinkConditions {
  /** Of messages on the bus that are lost. */
  readonly lost: number;
  /** Of messages on the bus that come twice. */
  readonly repeated: number;
  /** Of everything that takes up to `slowMsMax`; messages on the bus so overtake each other. */
  readonly slow: number;
  readonly slowMsMax: number;
  /** Of calls whose connection breaks before the request is there, or before the answer is back. */
  readonly broken: number;
  /** Of calls whose connection breaks and whose request is served all the same, up to `lateMsMax` later. */
  readonly late: number;
  readonly lateMsMax: number;
  /** Of operations of the object store that fail in passing, before or after they took effect. */
  readonly storeFailures: number;
  /** Of readings of pictures that fail in passing. */
  readonly unreadable: number;
}

export const goodLinks: LinkConditions = {
  lost: 0,
  repeated: 0,
  slow: 0,
  slowMsMax: 0,
  broken: 0,
  late: 0,
  lateMsMax: 0,
  storeFailures: 0,
  unreadable: 0,
};

/** Transit of anything on a good link. */
const FAST_MS_MAX = 3;

/** Links between hosts: workers, `coordinator`, `store` and `bus`. */
export class Network {
  readonly clock: VirtualClock;
  readonly random: RandomStream;
  conditions: LinkConditions = goodLinks;
  /** How often each kind of fault has happened. */
  readonly faults = new Map<string, number>();
  readonly #cut = new Set<string>();
  readonly #down = new Set<string>();

  constructor(clock: VirtualClock, random: RandomStream) {
    this.clock = clock;
    this.random = random;
  }

  /** Nothing gets from one to the other until `join`. */
  part(a: string, b: string): void {
    this.#cut.add(linkOf(a, b));
  }

  join(a: string, b: string): void {
    this.#cut.delete(linkOf(a, b));
  }

  /** A service that nobody can reach. */
  takeDown(host: string): void {
    this.#down.add(host);
  }

  bringUp(host: string): void {
    this.#down.delete(host);
  }

  heal(): void {
    this.#cut.clear();
    this.#down.clear();
    this.conditions = goodLinks;
  }

  isOpen(a: string, b: string): boolean {
    return !this.#cut.has(linkOf(a, b)) && !this.#down.has(a) && !this.#down.has(b);
  }

  /** True in this share of draws. */
  draw(share: number): boolean {
    return share > 0 && this.random.uniform() < share;
  }

  /** The same for a fault, which is counted when it happens. */
  drawFault(kind: keyof LinkConditions): boolean {
    const happens = this.draw(this.conditions[kind]);
    if (happens) this.count(kind);
    return happens;
  }

  count(fault: string): void {
    this.faults.set(fault, (this.faults.get(fault) ?? 0) + 1);
  }

  transitMs(): number {
    return this.drawFault("slow") ? this.random.below(this.conditions.slowMsMax + 1) : 1 + this.random.below(FAST_MS_MAX);
  }
}

function linkOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
