import type { V1Pod, V1PodStatus } from "@kubernetes/client-node";
import { expect, test } from "vitest";
import { type PodState, podReport } from "./pod-report.js";

const labels = { "app.kubernetes.io/component": "trainer", "graft.dev/job-uid": "u" };

function pod(status: V1PodStatus, metadata: V1Pod["metadata"] = {}): V1Pod {
  const container = { name: "worker", image: "graft-trainer:1", resources: { limits: { memory: "1Gi" } } };
  return { metadata: { name: "p", uid: "pod-uid", labels, ...metadata }, spec: { containers: [container] }, status };
}
const stateOf = (...of: Parameters<typeof pod>): PodState | undefined => podReport(pod(...of))?.state;
const container = (state: object): V1PodStatus =>
  ({
    containerStatuses: [
      { name: "proxy", state: {} },
      { name: "worker", state },
    ],
  }) as unknown as V1PodStatus;
const ended = (terminated: object): V1PodStatus => container({ terminated });
const disrupted: V1PodStatus = {
  conditions: [{ type: "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI", message: "Eviction API: evicting" }],
};

test("only workers of a job are reported, by name, role and job", () => {
  expect(podReport(pod({}))).toMatchObject({ name: "p", uid: "pod-uid", jobUid: "u", role: "trainer" });
  expect(podReport({})).toBeUndefined();
  expect(podReport(pod({}, { labels: {} }))).toBeUndefined();
  expect(podReport(pod({}, { labels: { ...labels, "app.kubernetes.io/component": "coordinator" } }))).toBeUndefined();
});

test.each([
  ["new", {}, undefined, "its pod is being placed"],
  [
    "held by a scheduling gate",
    { conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }] },
    undefined,
    "its pod is being placed",
  ],
  [
    "unschedulable",
    { conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes: Insufficient cpu" }] },
    "WORKERS_UNSCHEDULABLE",
    "no node takes it: 0/3 nodes: Insufficient cpu",
  ],
  [
    "unschedulable without a message",
    { conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }] },
    "WORKERS_UNSCHEDULABLE",
    "no node takes it: Unschedulable",
  ],
  ["being made", container({ waiting: { reason: "ContainerCreating" } }), undefined, "its container is being made (ContainerCreating)"],
  [
    "image away",
    container({ waiting: { reason: "ErrImagePull", message: "not found" } }),
    "IMAGE_PULL_FAILED",
    "image graft-trainer:1: ErrImagePull: not found",
  ],
  [
    "image still away",
    container({ waiting: { reason: "ImagePullBackOff", message: "Back-off" } }),
    "IMAGE_PULL_FAILED",
    "image graft-trainer:1: ImagePullBackOff: Back-off",
  ],
  [
    "a Secret missing",
    container({ waiting: { reason: "CreateContainerConfigError", message: 'secret "graft-workers" not found' } }),
    "WORKERS_NOT_STARTED",
    'CreateContainerConfigError: secret "graft-workers" not found',
  ],
] as const)("waiting: %s", (_, status, code, message) => {
  expect(stateOf(status as unknown as V1PodStatus)).toEqual({ kind: "waiting", code, message });
});

test("running", () => {
  expect(stateOf(container({ running: {} }))).toEqual({ kind: "running", ready: undefined });
});

test.each([
  ["its job has ended", ended({ exitCode: 0 }), {}, "done", "exit code 0"],
  ["done, and its container forgotten", { phase: "Succeeded" }, {}, "done", "exit code 0"],
  ["told to stop", ended({ exitCode: 130 }), {}, "interrupted", "exit code 130: it was told to stop"],
  ["ended by SIGTERM", ended({ exitCode: 143 }), {}, "interrupted", "exit code 143: it was told to stop"],
  ["a failure", ended({ exitCode: 7, message: "STORE_FULL\n" }), {}, "failed", "exit code 7; its last lines: STORE_FULL"],
  ["a failure without a word", ended({ exitCode: 1, message: "" }), {}, "failed", "exit code 1"],
  ["SIGKILL", ended({ exitCode: 137, reason: "Error" }), {}, "failed", "exit code 137 (SIGKILL)"],
  ["SIGSEGV", ended({ exitCode: 139 }), {}, "failed", "exit code 139 (SIGSEGV)"],
  ["SIGABRT", ended({ exitCode: 134 }), {}, "failed", "exit code 134 (SIGABRT)"],
  ["a signal that the runtime names", ended({ exitCode: 137, signal: 9 }), {}, "failed", "exit code 137, signal 9"],
  [
    "out of memory",
    ended({ exitCode: 137, reason: "OOMKilled" }),
    {},
    "outOfMemory",
    "out of memory: it was ended for using more than 1Gi",
  ],
  [
    "killed since it was deleted",
    ended({ exitCode: 137 }),
    { deletionTimestamp: new Date(0) },
    "interrupted",
    "exit code 137 (SIGKILL); its pod was deleted",
  ],
  [
    "drained",
    { ...ended({ exitCode: 137 }), ...disrupted },
    {},
    "interrupted",
    "exit code 137 (SIGKILL); EvictionByEvictionAPI: Eviction API: evicting",
  ],
  [
    "evicted for memory",
    { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory." },
    {},
    "interrupted",
    "Evicted: The node was low on resource: memory.",
  ],
  [
    "refused by the node",
    { phase: "Failed", reason: "UnexpectedAdmissionError", message: "no GPU" },
    {},
    "failed",
    "UnexpectedAdmissionError: no GPU",
  ],
  [
    "disrupted without a reason of its own",
    { phase: "Failed", ...disrupted },
    {},
    "interrupted",
    "EvictionByEvictionAPI: Eviction API: evicting",
  ],
  ["failed without a reason", { phase: "Failed" }, {}, "failed", "failed without a reason"],
] as const)("ended: %s", (_, status, metadata, end, message) => {
  expect(stateOf(status as unknown as V1PodStatus, metadata)).toEqual({ kind: "ended", end, message });
});

test("a limit that the pod does not have is the node's memory", () => {
  const bare = pod(ended({ exitCode: 137, reason: "OOMKilled" }));
  bare.spec = { containers: [{ name: "worker" }] };
  expect(podReport(bare)?.state).toMatchObject({ message: "out of memory: it was ended for using more than the node has" });
});

test("a pod that is gone before it said how it ended was interrupted; one that said so keeps its word", () => {
  expect(podReport(pod(container({ running: {} })), true)?.state).toEqual({
    kind: "ended",
    end: "interrupted",
    message: "its pod was deleted",
  });
  expect(podReport(pod(disrupted), true)?.state).toMatchObject({ message: "EvictionByEvictionAPI: Eviction API: evicting" });
  expect(podReport(pod(ended({ exitCode: 7 })), true)?.state).toMatchObject({ end: "failed" });
});

test("of a long message the end is kept, where the failure is", () => {
  const state = stateOf(ended({ exitCode: 1, message: `${"x".repeat(5_000)} the cause` }));
  expect(state?.kind === "ended" && state.message).toMatch(/x the cause$/);
  expect(state?.kind === "ended" && state.message.length).toBeLessThan(1_600);
});
