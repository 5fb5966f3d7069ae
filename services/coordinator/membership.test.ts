import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../../platform/clock/clock.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { Joined } from "../../platform/work-service/work-service.js";
import { Membership, type MembershipDeps } from "./membership.js";

const profile = { engine: "fake" } as unknown as NumericsProfile;

/** A membership on a clock that the test moves; nobody is tired of waiting. */
function setup({ wanted = 2, store = memoryObjectStore() }: { wanted?: number; store?: ObjectStore } = {}) {
  const job = new JobObjects(store, "job");
  let nowMs = 0;
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs, sleep: () => new Promise(() => undefined) };
  const why: string[] = [];
  let needs = 0;
  const deps: MembershipDeps = {
    job,
    profile,
    clock,
    newKey: () => new Uint8Array(32),
    onGeneration: (_generation, reason) => why.push(reason),
    onNeed: () => needs++,
  };
  const membership = new Membership(deps, wanted);
  const joinAll = (steps: Record<string, number | undefined>, of = membership): Promise<Joined[]> =>
    Promise.all(Object.entries(steps).map(([trainer, step]) => of.join(trainer, profile, step)));
  const member = (trainer: string, generation: number) => ({ jobId: "job", trainer, generation });
  return { job, deps, membership, joinAll, member, why, needs: () => needs, pass: (ms: number) => (nowMs += ms) };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a generation opens when all have joined, and stands in the store before they learn of it", async () => {
  const { job, membership, joinAll } = setup();
  await job.createCheckpoint(50, new Uint8Array(1));
  const [b, a] = await joinAll({ b: undefined, a: undefined });
  expect(a).toEqual(b);
  expect(a).toMatchObject({ generation: 0, trainers: ["a", "b"], startStep: 50, stateWriter: undefined });
  expect(await job.numberedFacts("generations")).toEqual([0]);
  expect(membership.generation).toBe(0);
});

test("survivors go on from the highest step that one of them holds; who holds it writes it for those who lack it", async () => {
  const { membership, joinAll, member } = setup({ wanted: 3 });
  await joinAll({ a: undefined, b: undefined, c: undefined });
  expect(membership.stalled(member("a", 0), 7, ["c"])).toBe(1);
  expect(membership.heard(member("b", 0), 1, false)).toBe(1);
  const spare = membership.join("d", profile, undefined);
  const [a, b] = await joinAll({ a: 7, b: 8, c: 7 });
  expect(a).toMatchObject({ generation: 1, startStep: 8, stateWriter: "b", trainers: ["a", "b", "c"] });
  expect(b).toEqual(a);
  membership.close();
  expect(await spare).toEqual({ kind: "done" });
});

test("nobody writes a state that everyone holds, or that stands as a checkpoint", async () => {
  const { job, joinAll } = setup();
  await joinAll({ a: undefined, b: undefined });
  expect((await joinAll({ a: 8, b: 8 }))[0]).toMatchObject({ startStep: 8, stateWriter: undefined });
  await job.createCheckpoint(9, new Uint8Array(1));
  expect((await joinAll({ a: 8, b: 9 }))[0]).toMatchObject({ startStep: 9, stateWriter: undefined });
});

test("who was not heard any more is not waited for; who lives is, for a while", async () => {
  const { membership, joinAll, member, pass } = setup({ wanted: 3 });
  await joinAll({ a: undefined, b: undefined, c: undefined });
  pass(limits.memberQuietMs + 1);
  membership.heard(member("b", 0), 1, false);
  membership.stalled(member("a", 0), 3, ["c"]);
  const a = membership.join("a", profile, 3);
  await membership.tick();
  await settled();
  expect(membership.generation).toBe(0); // b lives and is waited for, c is not
  const b = membership.join("b", profile, 3);
  expect(await Promise.all([a, b])).toMatchObject([{ generation: 1, trainers: ["a", "b"] }, { generation: 1 }]);

  // b says that it lives and does not come.
  membership.stalled(member("a", 1), 4, ["b"]);
  const again = membership.join("a", profile, 4);
  pass(limits.regroupMs);
  membership.heard(member("b", 1), 1, false);
  await membership.tick();
  expect(await again).toMatchObject({ generation: 2, trainers: ["a"] });
});

test("silence ends a generation: short where steps are short, long before their length is known", async () => {
  const { membership, joinAll, member, needs, pass } = setup({ wanted: 1 });
  await joinAll({ a: undefined });
  pass(limits.exchangeDeadlineMs);
  await membership.tick();
  expect(membership.waitsFor).toBeUndefined();
  membership.heard(member("a", 0), 2, false);
  pass(limits.stepDeadlineMsMin - 1_000);
  const dueMs = membership.nextSilenceMs()!;
  expect(dueMs).toBe(1_001);
  pass(dueMs - 1);
  await membership.tick();
  expect([membership.waitsFor, needs()]).toEqual([undefined, 0]);
  pass(1);
  await membership.tick();
  expect(membership.waitsFor).toMatch(/nothing was heard from a for 10 s/);
  // The place is free: who was not needed is called; and there is nothing to wait for any more.
  expect([membership.nextSilenceMs(), needs()]).toEqual([undefined, 1]);
  expect(await membership.join("b", profile, undefined)).toMatchObject({ generation: 1, trainers: ["b"] });
});

test("a trainer that comes later is taken in where more are wanted, else it waits until it is", async () => {
  const { membership, joinAll, member, why } = setup({ wanted: 1 });
  await joinAll({ a: undefined });
  const spare = membership.join("b", profile, undefined);
  await settled();
  expect(membership.heard(member("a", 0), 1, false)).toBe(0);
  membership.setWanted(2);
  expect(membership.heard(member("a", 0), 1, false)).toBe(1);
  await joinAll({ a: 12 });
  expect(await spare).toMatchObject({ generation: 1, trainers: ["a", "b"], startStep: 12, stateWriter: "a" });
  expect(why).toEqual(["the first", "b is taken in"]);
});

test("an old generation is told so, and its late words are refused", async () => {
  const { membership, joinAll, member } = setup();
  await joinAll({ a: undefined, b: undefined });
  await joinAll({ a: 1, b: 1 });
  expect(membership.heard(member("a", 0), 1, false)).toBe(1);
  expect(() => membership.assertCurrent(member("a", 1))).not.toThrow();
  for (const stale of [member("a", 0), member("c", 1)]) expect(() => membership.assertCurrent(stale)).toThrow(CodedError);
});

test("a coordinator that is started anew takes up the generation that stands", async () => {
  const { deps, joinAll, member, job } = setup();
  await joinAll({ a: undefined, b: undefined });
  const taken = await Membership.open(deps, 2);
  expect(taken.heard(member("a", 0), 1, false)).toBe(0);
  expect(() => taken.assertCurrent(member("b", 0))).not.toThrow();
  taken.stalled(member("a", 0), 5, ["b"]);
  expect((await joinAll({ a: 5, b: 5 }, taken))[0]).toMatchObject({ generation: 1, startStep: 5 });
  expect(await job.numberedFacts("generations")).toEqual([0, 1]);
});

test("two coordinators on one store never give out one number twice", async () => {
  const { deps, joinAll } = setup({ wanted: 1 });
  const other = new Membership(deps, 1);
  const joined = (await Promise.all([joinAll({ a: undefined }), joinAll({ b: undefined }, other)])).flat();
  expect(joined.map((each) => (each.kind === "generation" ? each.generation : -1)).sort()).toEqual([0, 1]);
});

test("closing answers those who wait and those who come later", async () => {
  const { membership, member } = setup();
  const waiting = membership.join("a", profile, undefined);
  membership.close();
  expect(await waiting).toEqual({ kind: "done" });
  expect(await membership.join("b", profile, undefined)).toEqual({ kind: "done" });
  expect(membership.heard(member("a", 0), 1, false)).toBe(1);
});

test("a generation that cannot be written down fails for every member, not only for the last", async () => {
  const store = { ...memoryObjectStore(), create: () => Promise.reject(new CodedError("STORE_FULL", "the disk is full")) };
  const { membership } = setup({ store });
  const outcomes = await Promise.allSettled([membership.join("a", profile, undefined), membership.join("b", profile, undefined)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
});

test("a trainer of another numerics profile is refused", async () => {
  const { membership } = setup();
  await expect(membership.join("a", { engine: "other" } as unknown as NumericsProfile, undefined)).rejects.toMatchObject({
    code: "NUMERICS_PROFILE_MISMATCH",
  });
});
