import type { Clock } from "../../platform/clock/clock.js";

/** A lease as its holder knows it. */
export interface Lease {
  readonly lease: string;
  readonly task: number;
  readonly worker: string;
}

interface Held {
  readonly task: number;
  readonly worker: string;
  readonly sinceMs: number;
  expiresMs: number;
}

/** A task that takes this many times the median of those done is offered to an idle worker too … */
const STRAGGLER_FACTOR = 3;
/** … once so many are done that a median means something. */
const STRAGGLER_DONE_MIN = 3;

/**
 * Which worker is on which task, and until when. In memory only: a lease saves work, it never guards correctness, so losing the table costs at most repeated work.
 *
 * A task is open, leased or committed. An open or expired one can be claimed, and a straggler a second time; the first commit makes it committed for good, whoever holds a lease.
 */
export class LeaseTable {
  private readonly clock: Clock;
  private readonly durationMs: number;
  private readonly open: number[];
  private readonly committed = new Set<number>();
  private readonly leases = new Map<string, Held>();
  /** How long finished tasks took, in milliseconds. */
  private readonly durations: number[] = [];
  private granted = 0;

  constructor(tasks: Iterable<number>, durationMs: number, clock: Clock) {
    this.open = [...tasks];
    this.durationMs = durationMs;
    this.clock = clock;
  }

  /** The lowest open task, else the one whose lease expired first, else a straggler of another worker; undefined while every task is leased or committed. */
  claim(worker: string): Lease | undefined {
    const task = this.open.shift() ?? this.takeExpired() ?? this.straggler(worker);
    if (task === undefined) return undefined;
    const lease = `${worker}/${String(this.granted++)}`;
    this.hold(lease, task, worker);
    return { lease, task, worker };
  }

  /** Every lease that stands, with how long ago it was granted. */
  get held(): readonly (Lease & { readonly heldMs: number; readonly expiresInMs: number })[] {
    const now = this.clock.monotonic();
    return [...this.leases].map(([lease, { task, worker, sinceMs, expiresMs }]) => ({
      lease,
      task,
      worker,
      heldMs: now - sinceMs,
      expiresInMs: expiresMs - now,
    }));
  }

  /** A lease of an earlier coordinator, whose table is gone, is made anew: its holder is at work, unless another one is. */
  renew({ lease, task, worker }: Lease): "kept" | "lost" {
    if (this.committed.has(task)) return "lost";
    const held = this.leases.get(lease);
    if (held !== undefined) held.expiresMs = this.clock.monotonic() + this.durationMs;
    else {
      const position = this.open.indexOf(task);
      if (position < 0) return "lost";
      this.open.splice(position, 1);
      this.hold(lease, task, worker);
    }
    return "kept";
  }

  release(lease: string): void {
    const held = this.leases.get(lease);
    if (held === undefined) return;
    this.leases.delete(lease);
    const isHeldByAnother = [...this.leases.values()].some(({ task }) => task === held.task);
    if (!this.committed.has(held.task) && !isHeldByAnother) this.open.unshift(held.task);
  }

  commit(task: number): void {
    this.committed.add(task);
    for (const [lease, held] of this.leases) {
      if (held.task !== task) continue;
      this.leases.delete(lease);
      this.durations.push(this.clock.monotonic() - held.sinceMs);
    }
    const position = this.open.indexOf(task);
    if (position >= 0) this.open.splice(position, 1);
  }

  /** Time until the next lease can expire; undefined without leases. */
  nextExpiryMs(): number | undefined {
    const expiries = [...this.leases.values()].map(({ expiresMs }) => expiresMs - this.clock.monotonic());
    return expiries.length === 0 ? undefined : Math.max(0, Math.min(...expiries));
  }

  private hold(lease: string, task: number, worker: string): void {
    const now = this.clock.monotonic();
    this.leases.set(lease, { task, worker, sinceMs: now, expiresMs: now + this.durationMs });
  }

  /** The task that is under way for longest, if that is far longer than others took and nobody but its one holder is at it. */
  private straggler(worker: string): number | undefined {
    if (this.durations.length < STRAGGLER_DONE_MIN) return undefined;
    const median = [...this.durations].sort((a, b) => a - b)[Math.floor(this.durations.length / 2)]!;
    const longest = [...this.leases.values()].reduce<Held | undefined>(
      (a, b) => (a === undefined || b.sinceMs < a.sinceMs ? b : a),
      undefined,
    );
    if (longest === undefined || longest.worker === worker) return undefined;
    if (this.clock.monotonic() - longest.sinceMs < STRAGGLER_FACTOR * median) return undefined;
    return [...this.leases.values()].filter(({ task }) => task === longest.task).length === 1 ? longest.task : undefined;
  }

  private takeExpired(): number | undefined {
    const now = this.clock.monotonic();
    for (const [lease, held] of this.leases) {
      if (held.expiresMs > now) continue;
      this.leases.delete(lease);
      return held.task;
    }
    return undefined;
  }
}
