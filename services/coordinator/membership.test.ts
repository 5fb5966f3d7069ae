import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { Membership } from "./membership.js";

const profile = { engine: "fake" } as unknown as NumericsProfile;

function setup({ wanted = 2, store = memoryObjectStore() }: { wanted?: number; store?: ObjectStore } = {}) {
  const job = new JobObjects(store, "job");
  return { job, membership: new Membership(job, profile, wanted, () => new Uint8Array(32)) };
}

test("a generation opens when all have joined, and stands in the store before they learn of it", async () => {
  const { job, membership } = setup();
  await job.createCheckpoint(50, new Uint8Array(1));
  const [b, a] = await Promise.all([membership.join("b", profile), membership.join("a", profile)]);
  expect(a).toEqual(b);
  expect(a).toMatchObject({ generation: 0, trainers: ["a", "b"], startStep: 50 });
  expect(await job.numberedFacts("generations")).toEqual([0]);
  expect(membership.generation).toBe(0);
});

test("members that join again make the next generation, from the checkpoint that is there then", async () => {
  const { job, membership } = setup();
  await job.createCheckpoint(50, new Uint8Array(1));
  await Promise.all([membership.join("a", profile), membership.join("b", profile)]);
  await job.deleteCheckpoint(50);
  const [a] = await Promise.all([membership.join("a", profile), membership.join("b", profile)]);
  expect(a).toMatchObject({ generation: 1, startStep: 0 });
});

test("who comes after all places are taken is not needed", async () => {
  const { membership } = setup();
  const joined = [membership.join("a", profile), membership.join("b", profile), membership.join("c", profile)];
  expect((await Promise.all(joined)).map((answer) => (typeof answer === "string" ? answer : answer.generation))).toEqual([
    0,
    0,
    "not needed",
  ]);
});

test("closing answers those who wait and those who come later", async () => {
  const { membership } = setup();
  const waiting = membership.join("a", profile);
  membership.close();
  expect(await waiting).toBe("closed");
  expect(await membership.join("b", profile)).toBe("closed");
});

test("a generation that cannot be written down fails for every member, not only for the last", async () => {
  const store = { ...memoryObjectStore(), create: () => Promise.reject(new CodedError("STORE_FULL", "the disk is full")) };
  const { membership } = setup({ store });
  const outcomes = await Promise.allSettled([membership.join("a", profile), membership.join("b", profile)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});

test("a trainer of another numerics profile is refused", async () => {
  const { membership } = setup();
  await expect(membership.join("a", { engine: "other" } as unknown as NumericsProfile)).rejects.toMatchObject({
    code: "NUMERICS_PROFILE_MISMATCH",
  });
});
