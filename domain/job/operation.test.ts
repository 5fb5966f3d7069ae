import { expect, test } from "vitest";
import { FieldCheck } from "./field-check.js";
import { checkOperation, defaultBackoffLimit, operationOf } from "./operation.js";
import type { JobSpec } from "./spec.js";

const problems = (spec: JobSpec): string[] => {
  const check = new FieldCheck();
  checkOperation(spec, check);
  return check.problems.map(({ path, message }) => `${path}: ${message}`);
};
const podProblems = (pod: object): string[] => problems({ trainers: { pod } });

test("what a spec does not say: no deadline, no expiry, the result is kept", () => {
  expect(operationOf({})).toEqual({
    activeDeadlineSeconds: undefined,
    ttlSecondsAfterFinished: undefined,
    backoffLimit: undefined,
    deletionPolicy: "RETAIN",
  });
  const said = { activeDeadlineSeconds: 1, ttlSecondsAfterFinished: 0, backoffLimit: 0, deletionPolicy: "DELETE" } as const;
  expect(operationOf({ ...said, suspend: true })).toEqual(said);
  expect(problems(said)).toEqual([]);
  expect(defaultBackoffLimit).toBeGreaterThan(0);
});

test("numbers out of range are named", () => {
  expect(problems({ activeDeadlineSeconds: 0, ttlSecondsAfterFinished: -1, backoffLimit: 0.5 }).map((text) => text.split(":")[0])).toEqual([
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
    "backoffLimit",
  ]);
});

test("a pod's environment cannot reach what graft stands on", () => {
  expect(podProblems({ env: { HTTPS_PROXY: "x", _a1: "x", MY_NODE_OPTIONS: "x" } })).toEqual([]);
  for (const name of ["NODE_OPTIONS", "GRAFT_STORE_ACCESS_KEY", "LD_PRELOAD", "1A", "A-B", ""])
    expect(podProblems({ env: { [name]: "x" } }), name).toEqual([expect.stringContaining(`found ${JSON.stringify(name)}`)]);
  expect(problems({ extractors: { pod: { env: { NODE_OPTIONS: "x" } } } })[0]).toMatch(/^extractors\.pod\.env: /);
});

test("a job may choose among graft's service accounts only", () => {
  for (const serviceAccountName of ["graft-gpu", "graft-a"]) expect(podProblems({ serviceAccountName })).toEqual([]);
  for (const serviceAccountName of ["default", "graft-", "my-graft-gpu", "graft-A", "graft-a-"])
    expect(podProblems({ serviceAccountName })).toEqual([
      `trainers.pod.serviceAccountName: must begin with "graft-", found "${serviceAccountName}"`,
    ]);
});
