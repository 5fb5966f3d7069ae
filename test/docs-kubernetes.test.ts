import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type ErrorCode, errorCodes, isWorkersOwn } from "../domain/errors.js";
import { conditionsOf, reasonOf } from "../domain/job/conditions.js";
import { pendingStatus } from "../domain/job/status.js";
import { isFinal, phases } from "../domain/job/transitions.js";

const FILE = "docs/kubernetes.md";
const text = readFileSync(FILE, "utf8");
const rows = [...text.matchAll(/^\| ([A-Z]\w+=(?:True|False)[^|]*) \| `(\w+)` \| (.+?) \| (.+?) \|$/gm)].map(
  ([, condition = "", reason = ""]) => ({ condition, reason }),
);

/** Codes that answer a caller, or tell a worker that it came too late: no job has one of them as its failure. */
const notOfJobs: readonly ErrorCode[] = [
  "USAGE_INVALID",
  "REQUEST_INVALID",
  "CONFIG_INVALID",
  "JOB_NOT_FOUND",
  "JOB_EXISTS",
  "JOB_NOT_COMPLETE",
  "INTERRUPTED",
];

test(`${FILE} has every reason that a condition can have, and no other`, () => {
  const ofCodes = (Object.keys(errorCodes) as ErrorCode[]).filter((code) => !notOfJobs.includes(code) && !isWorkersOwn(code)).map(reasonOf);
  const ofStates = [false, true].flatMap((suspended) =>
    phases
      .filter((phase) => phase !== "Failed")
      .flatMap((phase) => conditionsOf({ ...pendingStatus, phase, suspended: suspended && !isFinal(phase) }))
      .map(({ reason }) => reason),
  );
  const wanted = new Set([...ofCodes, ...ofStates, reasonOf("INTERNAL")]);
  expect(rows.map(({ reason }) => reason).sort()).toEqual([...wanted].sort());
});

test("its conditions are those that a job has for that reason", () => {
  const conditionsFor = (reason: string): string[] => {
    const code = (Object.keys(errorCodes) as ErrorCode[]).find((each) => reasonOf(each) === reason);
    const failure = { code: code ?? "INTERNAL", message: "" };
    const phase = phases.find((each) => each === reason);
    const status = phase !== undefined ? { phase } : reason === "Suspended" ? { suspended: true } : { phase: "Failed" as const, failure };
    return conditionsOf({ ...pendingStatus, ...status })
      .filter((each) => each.reason === reason)
      .map((each) => `${each.type}=${each.status}`);
  };
  for (const { condition, reason } of rows.filter((row) => row.reason !== "NotSuspended" && !row.condition.includes(" while "))) {
    expect(condition.split(/, (?:then )?/).sort(), reason).toEqual(conditionsFor(reason).sort());
  }
});

test("the columns that it names are those of kubectl", () => {
  const columns = [...readFileSync("deploy/k8s/base/graft-job-crd.yaml", "utf8").matchAll(/- name: (\w+)\n\s+type: \w+\n\s+jsonPath/g)];
  const shown = columns.map(([, name = ""]) => name.toUpperCase());
  expect(text).toContain(`# ${shown.join(", ")}`);
});
