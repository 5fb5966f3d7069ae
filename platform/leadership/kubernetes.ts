import type { V1Lease } from "@kubernetes/client-node";
import { V1MicroTime } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import type { Clock } from "../clock/clock.js";
import { type Kubernetes, mergePatch } from "../kubernetes/kubernetes.js";
import type { Leadership } from "./leadership.js";

export interface LeaseSettings {
  readonly namespace: string;
  readonly name: string;
  /** Unique among those who might lead. */
  readonly identity: string;
  /** How long a lease binds after it was last renewed. */
  readonly leaseMs: number;
  /** The pod that gets the leader's label, which the Service selects; absent outside a pod. */
  readonly pod?: string | undefined;
  readonly clock: Clock;
  readonly onLost: (error: unknown) => void;
}

/** The pod that leads has it. */
export const LEADER_LABEL = "graft.dev/leader";

/** Within the duration of a lease: it is renewed so often, … */
const RENEWALS = 6;
/** … and looked at so often by those who stand by. */
const LOOKS = 30;
/** Parts of the duration after which a leader that could not renew its lease stops, … */
const STOP_AFTER = 4 / 6;
/** … and another one takes a lease that has not changed: so it has begun before the duration is over. */
const TAKE_AFTER = 5 / 6;

/**
 * Leader election by a Lease, as client-go does it (tools/leaderelection): who finds a lease that has not changed for five sixths of its duration, on its own clock, takes it; who cannot renew its own for four sixths
 * stops before another may begin. Every write is conditional on the version that was read.
 */
export function kubernetesLeadership(kubernetes: Kubernetes, settings: LeaseSettings): Leadership {
  const { namespace, name, identity, leaseMs, pod, clock, onLost } = settings;
  const what = `Lease ${namespace}/${name}`;
  const retryMs = leaseMs / RENEWALS;
  const stopMs = leaseMs * STOP_AFTER;
  let held: V1Lease | undefined;
  /** The lease as it was last seen, and since when it has been that. */
  let seen: { readonly version: string | undefined; readonly sinceMs: number } | undefined;

  const leaseOf = (before: V1Lease | undefined): V1Lease => {
    const now = new V1MicroTime();
    const isOurs = before?.spec?.holderIdentity === identity;
    return {
      metadata: { ...before?.metadata, name, namespace },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.max(1, Math.ceil(leaseMs / 1000)),
        acquireTime: isOurs ? before.spec?.acquireTime : now,
        renewTime: now,
        leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (isOurs || before === undefined ? 0 : 1),
      },
    } as V1Lease;
  };

  /** One try to get or to keep it. */
  const tryHold = async (): Promise<boolean> => {
    const found = await kubernetes.find(`read ${what}`, () => kubernetes.coordination.readNamespacedLease({ namespace, name }));
    if (found === undefined) {
      held = await kubernetes.request(`create ${what}`, () =>
        kubernetes.coordination.createNamespacedLease({ namespace, body: leaseOf(undefined) }),
      );
      return true;
    }
    const version = found.metadata?.resourceVersion;
    const sinceMs = seen !== undefined && seen.version === version ? seen.sinceMs : clock.monotonic();
    seen = { version, sinceMs };
    const holder = found.spec?.holderIdentity ?? "";
    const isFree =
      holder === "" || holder === identity || clock.monotonic() - sinceMs >= (found.spec?.leaseDurationSeconds ?? 0) * 1000 * TAKE_AFTER;
    if (!isFree) return false;
    held = await kubernetes.request(`renew ${what}`, () =>
      kubernetes.coordination.replaceNamespacedLease({ namespace, name, body: leaseOf(found) }),
    );
    return true;
  };

  const label = async (isLeader: boolean): Promise<void> => {
    if (pod === undefined) return;
    const body = { metadata: { labels: { [LEADER_LABEL]: isLeader ? "true" : null } } };
    await kubernetes.request(`label Pod ${namespace}/${pod}`, () =>
      kubernetes.core.patchNamespacedPod({ namespace, name: pod, body }, mergePatch),
    );
  };

  /** `sentMs`: when the request that got it was sent; others may have seen it since then. */
  const keep = async (sentMs: number, lost: AbortController, signal: AbortSignal): Promise<void> => {
    let renewedMs = sentMs;
    for (;;) {
      await clock.sleep(retryMs, signal).catch(() => undefined);
      if (signal.aborted || held === undefined) return;
      const triedMs = clock.monotonic();
      // A process that stood still for longer asks nobody: another one may lead.
      const leftMs = renewedMs + stopMs - triedMs;
      const answer = leftMs > 0 ? await inTime(tryHold(), leftMs) : undefined;
      if (answer === false) {
        lost.abort(new CodedError("INTERRUPTED", `${what} is another's: this coordinator does not lead any more`));
        return;
      }
      if (answer === true) renewedMs = triedMs;
      if (clock.monotonic() - renewedMs >= stopMs) {
        lost.abort(new CodedError("INTERRUPTED", `${what} could not be renewed in time: this coordinator stops before another one begins`));
        return;
      }
    }
  };

  /** What a try comes to; undefined where it fails, or is not answered within that time: an API server may take a request and say nothing. */
  const inTime = async (trying: Promise<boolean>, withinMs: number): Promise<boolean | undefined> => {
    const over = new AbortController();
    const answered = trying.catch((error: unknown) => {
      onLost(error);
      return undefined;
    });
    const expired = clock.sleep(Math.max(0, withinMs), over.signal).then(
      () => undefined,
      () => undefined,
    );
    try {
      return await Promise.race([answered, expired]);
    } finally {
      over.abort();
    }
  };

  return {
    async lead(signal) {
      await label(false); // a container that is started anew in its pod
      let sentMs: number;
      for (;;) {
        signal.throwIfAborted();
        sentMs = clock.monotonic();
        const isHeld = await tryHold().catch((error: unknown) => {
          if (!(error instanceof CodedError && error.code === "CLUSTER_CONFLICT")) onLost(error);
          return false;
        });
        if (isHeld) break;
        await clock.sleep(leaseMs / LOOKS, signal);
      }
      const lost = new AbortController();
      void keep(sentMs, lost, signal);
      await label(true);
      return lost.signal;
    },
    async release() {
      const lease = held;
      held = undefined;
      if (lease === undefined) return;
      await label(false).catch(onLost);
      const body = { ...lease, spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 } } as V1Lease;
      await kubernetes
        .request(`release ${what}`, () => kubernetes.coordination.replaceNamespacedLease({ namespace, name, body }))
        .catch(onLost); // it ends by itself
    },
  };
}
