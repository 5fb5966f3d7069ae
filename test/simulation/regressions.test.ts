import { expect, test } from "vitest";
import type { Swarm } from "./faults.js";
import { goodLinks } from "./network.js";
import { calm, describe, runWorld } from "./simulate.js";

// Bugs that the simulation found, each with the least that brings it about; where a seed found it first, it is named.

/** Runs a world and asserts that what should happen in it did, and did no harm. */
async function expectHarmless(
  { seed = 1, ...swarm }: Partial<Swarm> & { readonly seed?: number },
  ...happened: readonly string[]
): Promise<void> {
  const outcome = await runWorld(seed, { ...calm, safetyMs: 900_000, ...swarm });
  for (const fault of happened) expect([...outcome.faults.keys()]).toContain(fault);
  if (outcome.violations.length > 0) expect.fail(describe(outcome));
}

test("a coordinator dies behind the result: the trainer that says again that it is there learns that the job has ended (seed 57)", () =>
  expectHarmless(
    { trainers: 2, trainersLeast: 2, ambushes: [{ milestone: "after result", after: 0, freezeMs: undefined }] },
    'ambush at "after result"',
  ));

test("an exporter is paused, another one whose first evaluation was heard a resend later takes its place: the result has one event file (seed 20)", () =>
  expectHarmless(
    {
      seed: 3,
      trainers: 2,
      trainersLeast: 2,
      links: { ...goodLinks, lost: 0.1 },
      ambushes: [{ milestone: "mid export", after: 7, freezeMs: 100_000 }],
    },
    'ambush at "mid export"',
    "lost",
  ));

test("an extractor wakes up with a commit after the job has ended, and goes on with others (seed 198)", () =>
  expectHarmless(
    { extractors: 2, ambushes: [{ milestone: "after shard put", after: 0, freezeMs: 150_000 }] },
    'ambush at "after shard put"',
  ));

test("a trainer wakes up with a checkpoint of an older generation after the job has ended: nothing is taken from it (seed 208)", () =>
  expectHarmless(
    { trainers: 2, trainersLeast: 2, ambushes: [{ milestone: "after checkpoint", after: 0, freezeMs: 60_000 }] },
    'ambush at "after checkpoint"',
  ));

test("the coordinator before this one, only paused, accepts the result: this one learns of it although all trainers have gone", () =>
  expectHarmless(
    {
      seed: 14,
      recipe: 2,
      extractors: 2,
      trainers: 2,
      trainersLeast: 2,
      callMs: 100,
      kinds: ["replace the coordinator, which was paused", "kill a trainer"],
      everyMs: 4_000,
      safetyMs: 60_000,
    },
    "replace the coordinator, which was paused",
  ));
