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
/** Who waits for a task looks this often whether a straggler has become one for him. */
const STRAGGLER_LOOK_MS = 1_000;

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
  /** In the order in which they were granted. */
  private readonly leases = new Map<string, Held>();
  /** How long finished tasks took, in milliseconds, ascending. */
  private readonly durations: number[] = [];
  /** No lease ends before this; hundreds of waiting workers ask for it in a row. */
  private endsFromMs = Infinity;
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
      insertAscending(this.durations, this.clock.monotonic() - held.sinceMs);
    }
    const position = this.open.indexOf(task);
    if (position >= 0) this.open.splice(position, 1);
  }

  /** After this time it is worth asking again: a lease may have ended, or a straggler be offered. Undefined without leases. */
  nextOfferMs(): number | undefined {
    const [longest] = this.leases.values();
    if (longest === undefined) return undefined;
    const now = this.clock.monotonic();
    if (this.endsFromMs <= now) this.endsFromMs = this.earliestEnd();
    // A straggler that is due may not be for everyone: who asks again does so by and by.
    const straggles = longest.sinceMs + STRAGGLER_FACTOR * this.medianMs() - now;
    return Math.min(Math.max(0, this.endsFromMs - now), Math.max(STRAGGLER_LOOK_MS, straggles));
  }

  private hold(lease: string, task: number, worker: string): void {
    const now = this.clock.monotonic();
    const expiresMs = now + this.durationMs;
    this.leases.set(lease, { task, worker, sinceMs: now, expiresMs });
    this.endsFromMs = Math.min(this.endsFromMs, expiresMs);
  }

  /** The task that is under way for longest, if that is far longer than others took and nobody but its one holder is at it. */
  private straggler(worker: string): number | undefined {
    const [longest] = this.leases.values();
    if (longest === undefined || longest.worker === worker) return undefined;
    if (this.clock.monotonic() - longest.sinceMs < STRAGGLER_FACTOR * this.medianMs()) return undefined;
    let holders = 0;
    for (const { task } of this.leases.values()) if (task === longest.task) holders++;
    return holders === 1 ? longest.task : undefined;
  }

  /** Of the times that tasks took; infinite until enough of them are done. */
  private medianMs(): number {
    const { durations } = this;
    return durations.length < STRAGGLER_DONE_MIN ? Infinity : durations[Math.floor(durations.length / 2)]!;
  }

  private takeExpired(): number | undefined {
    const now = this.clock.monotonic();
    if (this.endsFromMs > now) return undefined;
    for (const [lease, held] of this.leases) {
      if (held.expiresMs > now) continue;
      this.leases.delete(lease);
      return held.task;
    }
    this.endsFromMs = this.earliestEnd();
    return undefined;
  }

  private earliestEnd(): number {
    let earliest = Infinity;
    for (const { expiresMs } of this.leases.values()) earliest = Math.min(earliest, expiresMs);
    return earliest;
  }
}

function insertAscending(values: number[], value: number): void {
  let [from, to] = [0, values.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (values[middle]! <= value) from = middle + 1;
    else to = middle;
  }
  values.splice(from, 0, value);
}
