import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { JobResourceStatus } from "../../domain/job/resource.js";
import type { GraftJobObject } from "../../formats/kubernetes/objects.js";
import type { Kubernetes } from "../kubernetes/kubernetes.js";
import { kubernetesJobResources } from "./kubernetes.js";

const job = (resourceVersion: string, change: Partial<GraftJobObject["metadata"]> = {}): GraftJobObject => ({
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: { name: "flowers", namespace: "team", uid: "u", creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion, ...change },
  spec: {},
});

/** An API server with one GraftJob; before each of the first writes another writer comes. */
function setup(conflicts: number, stands: GraftJobObject | undefined = job("1")) {
  const writes: { readonly version: string | undefined; readonly body: object }[] = [];
  const events: string[] = [];
  let version = 1;
  const write = async ({ body }: { readonly body: GraftJobObject }): Promise<object> => {
    writes.push({ version: body.metadata.resourceVersion, body });
    if (stands === undefined) throw new CodedError("CLUSTER_NOT_FOUND", "gone");
    if (writes.length <= conflicts) {
      stands = { ...stands, metadata: { ...stands.metadata, resourceVersion: String(++version) } };
      throw new CodedError("CLUSTER_CONFLICT", "changed");
    }
    return body;
  };
  const kubernetes = {
    request: (_: string, send: () => Promise<unknown>) => send(),
    find: (_: string, send: () => Promise<unknown>) => send(),
    custom: {
      replaceNamespacedCustomObjectStatus: write,
      patchNamespacedCustomObject: write,
      getNamespacedCustomObject: async () => stands,
    },
    core: {
      createNamespacedEvent: async ({ body }: { readonly body: { readonly metadata: { readonly name: string } } }) => {
        if (events.includes(body.metadata.name)) throw new CodedError("CLUSTER_CONFLICT", "is there");
        events.push(body.metadata.name);
      },
    },
  } as unknown as Kubernetes;
  return {
    resources: kubernetesJobResources(kubernetes),
    writes,
    events,
    replace: (other: GraftJobObject | undefined) => (stands = other),
  };
}
const training = { phase: "TRAINING", suspended: false } as JobResourceStatus;

test("a status is written on what stands, again where others were before", async () => {
  const { resources, writes } = setup(2);
  const seen: (string | undefined)[] = [];
  const written = await resources.writeStatus(job("1"), (stands) => {
    seen.push(stands.metadata.resourceVersion);
    return training;
  });
  expect(seen).toEqual(["1", "2", "3"]);
  expect(writes.map(({ version }) => version)).toEqual(seen);
  expect(written?.status).toEqual(training);
});

test("others that never let it be told, and a job that is gone or another by now is left alone", async () => {
  const busy = setup(99);
  await expect(busy.resources.writeStatus(job("1"), () => training)).rejects.toMatchObject({ code: "CLUSTER_CONFLICT" });
  expect(busy.writes).toHaveLength(5);
  const gone = setup(0);
  gone.replace(undefined);
  expect(await gone.resources.writeStatus(job("1"), () => training)).toBeUndefined();
  const other = setup(1, job("7", { uid: "another" }));
  expect(await other.resources.writeStatus(job("1"), () => training)).toBeUndefined();
  expect(other.writes).toHaveLength(1);
});

test("the finalizer is added once and taken away alone; each write is bound to the version that was read", async () => {
  const { resources, writes } = setup(1, job("1", { finalizers: ["others"] }));
  await resources.hold(job("1", { finalizers: ["others"] }));
  expect(writes.at(-1)?.body).toEqual({ metadata: { finalizers: ["others", "graft.dev/job"], resourceVersion: "2" } });
  const held = job("2", { finalizers: ["others", "graft.dev/job"] });
  await resources.hold(held);
  expect(writes).toHaveLength(2);
  await resources.release(held);
  expect(writes.at(-1)?.body).toEqual({ metadata: { finalizers: ["others"], resourceVersion: "2" } });
});

test("the same event of a job is one", async () => {
  const { resources, events } = setup(0);
  const notice = { type: "Warning", reason: "WorkerFailed", message: "exit code 7" } as const;
  for (const message of ["exit code 7", "exit code 7", "exit code 8"]) await resources.tell(job("1"), { ...notice, message });
  expect(events).toHaveLength(2);
});
