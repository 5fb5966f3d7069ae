import { expect, test } from "vitest";
import type { JobStore } from "../../platform/job-store/job-store.js";
import type { JobStatus } from "../../domain/job/status.js";
import { StatusBoard } from "./status.js";

/** A job store whose writes end when the test says so. */
function setup() {
  const written: JobStatus[] = [];
  const pending: (() => void)[] = [];
  const jobs = {
    writeStatus: async (_jobId: string, status: unknown) => {
      await new Promise<void>((resolve) => pending.push(resolve));
      written.push(status as JobStatus);
    },
  } as unknown as JobStore;
  const finishWrite = async (): Promise<void> => {
    while (pending.length === 0) await Promise.resolve();
    pending.shift()?.();
  };
  return { board: new StatusBoard(jobs, "job"), written, finishWrite, pending };
}

test("changes add up, one write after another, and the last one stands", async () => {
  const { board, written, finishWrite, pending } = setup();
  const first = board.update({ phase: "Extracting", tasks: 4 });
  await finishWrite();
  await first;
  const later = [board.update({ tasksCommitted: 1 }), board.update({ tasksCommitted: 2 }), board.update({ tasksCommitted: 3 })];
  await finishWrite();
  await Promise.all(later);
  expect(pending).toEqual([]);
  expect(written).toEqual([
    { formatVersion: 1, phase: "Extracting", suspended: false, tasks: 4, failure: null },
    { formatVersion: 1, phase: "Extracting", suspended: false, tasks: 4, tasksCommitted: 3, failure: null },
  ]);
});
