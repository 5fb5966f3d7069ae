import { RandomStream, randomKey } from "../../domain/random.js";
import { lineChart } from "../../formats/report/charts.js";
import type { Reference } from "./checker.js";
import { drawSwarm, type Swarm } from "./faults.js";
import { recipeCount } from "./jobs.js";
import { injectFaults } from "./inject.js";
import { goodLinks } from "./network.js";
import { World } from "./world.js";

const PICTURES = 200;
/** From the moment of healing: two leases or regroupings one after another, and the whole job. */
const LIVENESS_MS = 600_000;

/** After the end of the job: who was paused wakes up and says what it has to say. */
const LATE_MS = 5_000;

/** A cluster that nothing happens to. */
export const calm: Swarm = {
  recipe: 0,
  extractors: 1,
  trainers: 1,
  trainersLeast: 1,
  isPool: false,
  callMs: 20,
  links: goodLinks,
  kinds: [],
  everyMs: 1_000,
  ambushes: [],
  safetyMs: 0,
};

/** What a seed came to. */
export interface Outcome {
  readonly seed: number;
  readonly swarm: Swarm;
  /** What must not have happened; empty where all is well. */
  readonly violations: readonly string[];
  readonly journal: readonly string[];
  /** How often each kind of fault happened. */
  readonly faults: ReadonlyMap<string, number>;
  readonly virtualMs: number;
  readonly ticks: number;
}

const references = new Map<number, Promise<Reference>>();

/** What a recipe comes to with one trainer and no faults. */
export function referenceOf(recipe: number): Promise<Reference> {
  const known = references.get(recipe) ?? undisturbed(recipe);
  references.set(recipe, known);
  return known;
}

async function undisturbed(recipe: number): Promise<Reference> {
  // The report loads its charts when it is first written: the only I/O of a world, done here, before time is virtual.
  await lineChart("loss", [{ series: "train", points: [{ step: 1, value: 1 }] }], undefined);
  const world = new World({ seed: 0, pictures: PICTURES, swarm: { ...calm, recipe }, reference: undefined });
  await world.begin();
  world.heal();
  const end = await world.run(LIVENESS_MS);
  const weightsSha256 = end === "done" ? await world.check() : undefined;
  if (weightsSha256 === undefined || world.checker.violations.length > 0)
    throw new Error(
      `the undisturbed run of recipe ${recipe} ended as ${end}: ${world.checker.violations.join("; ")}\n${world.journal.join("\n")}`,
    );
  return { hashes: world.checker.hashes, weightsSha256 };
}

/** Runs the world of a seed. */
export function simulate(seed: number): Promise<Outcome> {
  return runWorld(seed, drawSwarm(new RandomStream(randomKey(seed, "swarm")), recipeCount));
}

/** Faults for a while, then none until the job ends, and a moment longer for those who come late. */
export async function runWorld(seed: number, swarm: Swarm): Promise<Outcome> {
  const reference = await referenceOf(swarm.recipe);
  const world = new World({ seed, pictures: PICTURES, swarm, reference });
  const { checker, clock } = world;
  try {
    await world.begin();
    injectFaults(world, swarm);
    let end = await world.run(swarm.safetyMs);
    world.heal();
    if (end !== "done") end = await world.run(clock.monotonic() + LIVENESS_MS);
    if (end !== "done") checker.violated(`the job has not ended ${LIVENESS_MS / 1000} s after the last fault (${end})`);
    else if (checker.violations.length === 0) {
      await world.linger(LATE_MS);
      await world.check();
    }
  } catch (error) {
    checker.violated(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
  return {
    seed,
    swarm,
    violations: checker.violations,
    journal: world.journal,
    faults: world.network.faults,
    virtualMs: clock.monotonic(),
    ticks: clock.ticks,
  };
}

/** What to print of a seed that failed: how to repeat it, what was found, and the last things that happened. */
export function describe({ seed, swarm, violations, journal }: Outcome): string {
  return [
    `seed ${seed} (repeat it: npm run simulate -- --seed ${seed}):`,
    ...violations.slice(0, 5).map((violation) => `  ${violation}`),
    `  swarm: ${JSON.stringify(swarm)}`,
    ...journal.slice(-60).map((entry) => `  ${entry}`),
  ].join("\n");
}
