import { expect, test } from "vitest";
import type { JobResource, JobResourceStatus } from "../../domain/job/resource.js";
import { eventsBetween } from "./watch.js";

const job = (status: Partial<JobResourceStatus>): JobResource => ({
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: { name: "flowers" },
  spec: {},
  status: { phase: "EXTRACTING", suspended: false, ...status },
});
const stands = (reason: string, message: string): Partial<JobResourceStatus> => ({
  conditions: [{ type: "Progressing", status: "False", reason, message }],
});

test("what hinders a job is said once, and again when it is something else", () => {
  const message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.";
  const [before, hindered, other] = [
    job({}),
    job(stands("WorkersUnschedulable", message)),
    job(stands("ImagePullFailed", "no such image")),
  ];
  const warning = (text: string) => [{ kind: "warning", message: text }];
  expect(eventsBetween(before, hindered)).toEqual(warning(`${message} [WorkersUnschedulable]`));
  expect(eventsBetween(hindered, hindered)).toEqual([]);
  expect(eventsBetween(hindered, other)).toEqual(warning("no such image [ImagePullFailed]"));
  // Who suspended it knows why it stands, and a failure is said as such.
  expect(eventsBetween(job({ suspended: true }), job({ suspended: true, ...stands("Suspended", "by request") }))).toEqual([]);
  const failure = { code: "STORE_UNAVAILABLE", message: "the store is away" };
  expect(eventsBetween(before, job({ failure, ...stands("StoreUnavailable", failure.message) }))).toEqual(
    warning("the store is away [STORE_UNAVAILABLE]"),
  );
});
