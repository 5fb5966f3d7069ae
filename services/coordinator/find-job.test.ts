import { expect, test } from "vitest";
import { findJob, jobNotFound } from "./find-job.js";
import type { Jobs, KnownJob } from "./jobs.js";

const known = (jobId: string, name: string, namespace: string | undefined, submittedMs: number): KnownJob =>
  ({ jobId, record: { name, submittedMs, request: { metadata: { namespace }, spec: {} } } }) as unknown as KnownJob;
const jobsOf = (...all: readonly KnownJob[]): Jobs =>
  ({ all, get: (id: string) => all.find(({ jobId }) => jobId === id) }) as unknown as Jobs;

test("with namespaces: by name in that one, by id in all that are not ruled out", () => {
  const jobs = jobsOf(known("1", "flowers", "a", 1), known("2", "flowers", "b", 3), known("3", "flowers", "a", 2), known("4", "1", "b", 4));
  const find = (name: string, namespace?: string) => findJob(jobs, { name, ...(namespace !== undefined && { namespace }) }, "a")?.jobId;
  expect(find("flowers")).toBe("3");
  expect(find("flowers", "b")).toBe("2");
  expect(find("flowers", "c")).toBeUndefined();
  expect(find("2")).toBe("2");
  expect(find("2", "a")).toBeUndefined();
  // Whose name is another one's id.
  expect([find("1"), find("1", "b")]).toEqual(["1", "4"]);
  expect(jobNotFound({ name: "x" }, "a").message).toBe('there is no job "x" in namespace a; "graft get" lists the jobs');
});

test("without: the newest of that name, whatever namespace is named", () => {
  const jobs = jobsOf(known("1", "flowers", undefined, 1), known("2", "flowers", "b", 2));
  expect(findJob(jobs, { name: "flowers" }, undefined)?.jobId).toBe("2");
  expect(findJob(jobs, { name: "flowers", namespace: "c" }, undefined)?.jobId).toBe("2");
  expect(findJob(jobs, { name: "1" }, undefined)?.jobId).toBe("1");
});
