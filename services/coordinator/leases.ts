import type { Clock } from "../../platform/clock/clock.js";

/**
 * Which worker is on which task, and until when. In memory only: a lease saves work, it never guards correctness, so losing the table costs at most repeated work.
 *
 * A task is open, leased or committed. An open or expired one can be claimed; the first commit makes it committed for good, whoever holds the lease.
 */
export class LeaseTable {
  private readonly clock: Clock;
  private readonly durationMs: number;
  private readonly open: number[];
  private readonly committed = new Set<number>();
  private readonly leases = new Map<string, { task: number; worker: string; expiresMs: number }>();
  private granted = 0;

  constructor(tasks: Iterable<number>, durationMs: number, clock: Clock) {
    this.open = [...tasks];
    this.durationMs = durationMs;
    this.clock = clock;
  }

  /** The lowest open task, else the one whose lease expired first; undefined while every task is leased or committed. */
  claim(worker: string): { readonly lease: string; readonly task: number; readonly worker: string } | undefined {
    const task = this.open.shift() ?? this.takeExpired();
    if (task === undefined) return undefined;
    const lease = `${worker}/${String(this.granted++)}`;
    this.leases.set(lease, { task, worker, expiresMs: this.clock.monotonic() + this.durationMs });
    return { lease, task, worker };
  }

  taskOf(lease: string): number | undefined {
    return this.leases.get(lease)?.task;
  }

  renew(lease: string): "kept" | "lost" {
    const held = this.leases.get(lease);
    if (held === undefined || this.committed.has(held.task)) return "lost";
    held.expiresMs = this.clock.monotonic() + this.durationMs;
    return "kept";
  }

  release(lease: string): void {
    const held = this.leases.get(lease);
    if (held === undefined) return;
    this.leases.delete(lease);
    if (!this.committed.has(held.task)) this.open.unshift(held.task);
  }

  commit(task: number): void {
    this.committed.add(task);
    for (const [lease, held] of this.leases) if (held.task === task) this.leases.delete(lease);
    const position = this.open.indexOf(task);
    if (position >= 0) this.open.splice(position, 1);
  }

  /** Adds tasks that came up later (repairs). */
  add(tasks: Iterable<number>): void {
    this.open.push(...tasks);
  }

  /** Time until the next lease can expire; undefined without leases. */
  nextExpiryMs(): number | undefined {
    const expiries = [...this.leases.values()].map(({ expiresMs }) => expiresMs - this.clock.monotonic());
    return expiries.length === 0 ? undefined : Math.max(0, Math.min(...expiries));
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
