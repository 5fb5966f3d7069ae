import { expect, test } from "vitest";
import { limits } from "../../domain/limits.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import { JobRequests } from "./job-requests.js";
import type { Jobs, KnownJob } from "./jobs.js";

const never = new AbortController().signal;

/** A job that is complete, with a file of two and a half pieces in a store that gives no references. */
async function setup(phase = "Complete") {
  const store = memoryObjectStore();
  const body = new Uint8Array(2.5 * limits.resultChunkBytes).map((_, index) => index % 251);
  await store.create("jobs/7/result/tfjs/weights.bin", body);
  await store.create("jobs/7/result/empty.txt", new Uint8Array());
  await store.create("jobs/7/spec.json", Uint8Array.of(1));
  const result = { location: "memory/jobs/7/result", weightsSha256: "ab".repeat(32) };
  const job = { jobId: "7", record: { name: "flowers" }, board: { state: { phase }, current: { result } } } as unknown as KnownJob;
  const jobs = { get: () => job, deps: { store } } as unknown as Jobs;
  const requests = new JobRequests({ jobs, plan: async () => ({ text: "", json: "{}" }), urlOf: async () => undefined });
  const read = async (path: string, offset = 0): Promise<Uint8Array[]> => {
    const pieces: Uint8Array[] = [];
    for await (const piece of requests.readResultFile({ name: "flowers" }, path, offset, never)) pieces.push(piece);
    return pieces;
  };
  return { store, body, requests, read };
}

test("a file of a result is read in bounded pieces, from any offset", async () => {
  const { body, requests, read } = await setup();
  const { files } = await requests.getResult({ name: "flowers" });
  expect(files.map(({ path, url }) => [path, url])).toEqual([
    ["empty.txt", undefined],
    ["tfjs/weights.bin", undefined],
  ]);
  const pieces = await read("tfjs/weights.bin");
  expect(pieces.map(({ length }) => length)).toEqual([limits.resultChunkBytes, limits.resultChunkBytes, limits.resultChunkBytes / 2]);
  expect(Buffer.concat(pieces).equals(body)).toBe(true);
  expect(Buffer.concat(await read("tfjs/weights.bin", 3)).equals(body.subarray(3))).toBe(true);
  expect(await read("tfjs/weights.bin", body.length)).toEqual([]);
  expect(await read("empty.txt")).toEqual([]);
});

test("what is no file of the result is refused, whatever its name", async () => {
  const { body, read } = await setup();
  for (const path of ["spec.json", "../spec.json", "/etc/passwd", "tfjs", "tfjs/", "tfjs/../../spec.json"])
    await expect(read(path)).rejects.toMatchObject({ code: "REQUEST_INVALID", message: expect.stringContaining(path) as string });
  await expect(read("tfjs/weights.bin", body.length + 1)).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  await expect((await setup("Training")).read("empty.txt")).rejects.toMatchObject({ code: "JOB_NOT_COMPLETE" });
});
