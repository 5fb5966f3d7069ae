import type { V1ContainerState, V1Pod } from "@kubernetes/client-node";
import { expect, test } from "vitest";
import { mainContainer, notStarted } from "./job-pods.js";

function pod(state?: V1ContainerState, conditions?: NonNullable<V1Pod["status"]>["conditions"], lastState?: V1ContainerState): V1Pod {
  const containers = [{ name: "proxy" }, { name: "worker" }];
  const status = {
    name: "worker",
    image: "",
    imageID: "",
    ready: false,
    restartCount: 0,
    ...(state && { state }),
    ...(lastState && { lastState }),
  };
  return {
    spec: { containers },
    status: { phase: "Pending", ...(conditions && { conditions }), ...(state && { containerStatuses: [status] }) },
  };
}

test("a pod without a log says why; one that was started once has a log", () => {
  const scheduler = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.";
  expect(notStarted(pod(undefined, [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: scheduler }]))).toBe(
    `Unschedulable: ${scheduler}`,
  );
  expect(notStarted(pod())).toBe("Pending");
  expect(notStarted(pod({ waiting: { reason: "ImagePullBackOff", message: "Back-off pulling image" } }))).toBe(
    "ImagePullBackOff: Back-off pulling image",
  );
  expect(notStarted(pod({ running: {} }))).toBeUndefined();
  expect(notStarted(pod({ terminated: { exitCode: 1 } }))).toBeUndefined();
  expect(notStarted(pod({ waiting: { reason: "CrashLoopBackOff" } }, undefined, { terminated: { exitCode: 1 } }))).toBeUndefined();
  expect(mainContainer(pod())).toBe("worker");
  expect(mainContainer({ spec: { containers: [{ name: "first" }, { name: "second" }] } })).toBe("first");
});
