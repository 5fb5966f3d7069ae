import type { V1Lease } from "@kubernetes/client-node";
import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { settled } from "../../test/support/jobs-in-memory.js";
import { VirtualClock } from "../../test/support/virtual-clock.js";
import type { Kubernetes } from "../kubernetes/kubernetes.js";
import { kubernetesLeadership } from "./kubernetes.js";

const LEASE_MS = 15_000;

/** One Lease on an API server, and what the way to it does to each elector's requests: nothing, an error before or after it is done, or silence. */
class LeaseServer {
  lease: V1Lease | undefined;
  readonly labels = new Map<string, string | null>();
  readonly ways = new Map<string, "open" | "refused" | "answer lost" | "silent">();
  private version = 0;

  private async send<T>(who: string, answer: () => T): Promise<T> {
    const way = this.ways.get(who) ?? "open";
    if (way === "silent") return new Promise<T>(() => undefined);
    if (way === "refused") throw new CodedError("CLUSTER_UNAVAILABLE", "away");
    const value = answer();
    if (way === "answer lost") throw new CodedError("CLUSTER_UNAVAILABLE", "reset");
    return value;
  }

  private write(body: V1Lease): V1Lease {
    this.lease = { ...body, metadata: { ...body.metadata, resourceVersion: String(++this.version) } };
    return this.lease;
  }

  clientOf(who: string): Kubernetes {
    const request = (_: string, act: () => Promise<unknown>) => act();
    return {
      request,
      find: request,
      coordination: {
        readNamespacedLease: () => this.send(who, () => this.lease),
        createNamespacedLease: ({ body }: { body: V1Lease }) =>
          this.send(who, () => {
            if (this.lease !== undefined) throw new CodedError("CLUSTER_CONFLICT", "is there");
            return this.write(body);
          }),
        replaceNamespacedLease: ({ body }: { body: V1Lease }) =>
          this.send(who, () => {
            if (body.metadata?.resourceVersion !== this.lease?.metadata?.resourceVersion)
              throw new CodedError("CLUSTER_CONFLICT", "changed");
            return this.write(body);
          }),
      },
      core: {
        patchNamespacedPod: async ({ name, body }: { name: string; body: { metadata: { labels: Record<string, string | null> } } }) =>
          void this.labels.set(name, body.metadata.labels["graft.dev/leader"] ?? null),
      },
    } as unknown as Kubernetes;
  }
}

function setup() {
  const [server, clock] = [new LeaseServer(), new VirtualClock()];
  const leading = new Set<string>();
  let most = 0;
  const elector = (identity: string) => {
    const stop = new AbortController();
    const leadership = kubernetesLeadership(server.clientOf(identity), {
      namespace: "graft-system",
      name: "graft-coordinator",
      identity,
      leaseMs: LEASE_MS,
      pod: identity,
      clock,
      onLost: () => undefined,
    });
    void leadership.lead(stop.signal).then(
      (lost) => {
        leading.add(identity);
        most = Math.max(most, leading.size);
        lost.addEventListener("abort", () => leading.delete(identity));
      },
      () => undefined,
    );
    /** As the service does: first it works no more, then it lets another one lead. */
    const release = async (): Promise<void> => {
      stop.abort(new CodedError("INTERRUPTED", "over"));
      leading.delete(identity);
      await leadership.release();
    };
    return { stop, release };
  };
  const pass = async (ms: number): Promise<void> => {
    for (let step = 0; step < ms / 500; step++) {
      clock.pass(500);
      await settled();
    }
  };
  return { server, elector, leading, pass, most: () => most };
}

test("one leads, has the label and keeps the lease; the other stands by", async () => {
  const { server, elector, leading, pass } = setup();
  elector("a");
  await pass(500);
  elector("b");
  await pass(120_000);
  expect([...leading]).toEqual(["a"]);
  expect([...server.labels]).toEqual([
    ["a", "true"],
    ["b", null],
  ]);
  expect(server.lease?.spec).toMatchObject({ holderIdentity: "a", leaseDurationSeconds: 15, leaseTransitions: 0 });
});

test.each(["refused", "silent", "answer lost"] as const)(
  "the way of the leader is %s: it stops before another one begins, and one does",
  async (way) => {
    const { server, elector, leading, pass, most } = setup();
    elector("a");
    await pass(500);
    elector("b");
    await pass(30_000);
    server.ways.set("a", way);
    await pass(10_500);
    expect([...leading]).toEqual([]);
    // Writes whose answers are lost go on to the end.
    await pass(LEASE_MS + 5_000);
    expect([...leading]).toEqual(["b"]);
    expect(most()).toBe(1);
    expect(server.lease?.spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1 });
  },
);

test("released, the lease is another's at the next try; a leader that ends by force is waited for", async () => {
  const { server, elector, leading, pass, most } = setup();
  const a = elector("a");
  await pass(500);
  const b = elector("b");
  await pass(5_000);
  await a.release();
  expect(server.labels.get("a")).toBeNull();
  await pass(3_000);
  expect([...leading]).toEqual(["b"]);
  b.stop.abort(new Error("killed"));
  leading.delete("b");
  elector("c");
  await pass((LEASE_MS * 5) / 6 - 1_000);
  expect([...leading]).toEqual([]);
  await pass(LEASE_MS / 6 + 1_000);
  expect([...leading]).toEqual(["c"]);
  expect(most()).toBe(1);
});

test("of several that find it free at once one gets it", async () => {
  const { elector, leading, pass, most } = setup();
  for (const name of ["a", "b", "c", "d"]) elector(name);
  await pass(60_000);
  expect([leading.size, most()]).toEqual([1, 1]);
});

test("a leader whose lease somebody else has taken stops at its next try", async () => {
  const { server, elector, leading, pass } = setup();
  elector("a");
  await pass(5_000);
  server.lease = {
    ...server.lease,
    metadata: { ...server.lease?.metadata, resourceVersion: "x" },
    spec: { ...server.lease?.spec, holderIdentity: "z" },
  };
  await pass(3_000);
  expect([...leading]).toEqual([]);
});
