import type { V1Pod } from "@kubernetes/client-node";
import { expect, test } from "vitest";
import { chooseLeader } from "./leader.js";

const pod = (name: string, seconds: number, status: V1Pod["status"], deletionTimestamp?: Date): V1Pod => ({
  metadata: { name, creationTimestamp: new Date(1_000 * seconds), ...(deletionTimestamp && { deletionTimestamp }) },
  ...(status && { status }),
});
const ready = { phase: "Running", conditions: [{ type: "Ready", status: "True" }] };
const notReady = { phase: "Running", conditions: [{ type: "Ready", status: "False" }] };

test("of pods that say that they lead one is taken that runs and stays, ready before not ready, the newest", () => {
  const ending = pod("ending", 9, ready, new Date(9_000));
  expect(chooseLeader([])).toBeUndefined();
  expect(chooseLeader([ending, pod("pending", 8, { phase: "Pending" }), pod("failed", 7, { phase: "Failed" })])).toBeUndefined();
  const names = [ending, pod("newer", 3, notReady), pod("old", 1, ready), pod("new", 2, ready)];
  expect(chooseLeader(names)?.metadata?.name).toBe("new");
  expect(chooseLeader(names.slice(0, 2))?.metadata?.name).toBe("newer");
});
