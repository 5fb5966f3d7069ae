import { type EngineName, enginesThatTrain } from "../../../domain/training/trainable-layers.js";
import { addAlongTree } from "../../../domain/training/tree.js";
import type { Engine, GradientInput, GradientShape, GradientSums, Trainable } from "../../../platform/engine/engine.js";
import { trainables } from "./networks.js";

/** The engine under test, and the same engine with one thread. */
export interface OpenEngines {
  readonly engine: Engine;
  readonly single: Engine;
}

/** Engines open after the tests are collected; inside of a test they are there. */
export type Engines = () => OpenEngines;

/** Whether the planner lets an engine train a network. */
export function isTrainedBy(engine: EngineName, { network: tail, preprocessing }: Pick<Trainable, "network" | "preprocessing">): boolean {
  return enginesThatTrain({ tail, pixels: preprocessing !== undefined }).includes(engine);
}

/** Those of the suite's networks that an engine trains. */
export function trainedBy(engine: EngineName): Trainable[] {
  return trainables.filter((trainable) => isTrainedBy(engine, trainable));
}

/** One call, its results copied. */
export async function run(engine: Engine, trainable: Trainable, input: GradientInput, shape: GradientShape): Promise<GradientSums> {
  const gradient = await engine.compileGradient(trainable, shape);
  const sums = await gradient.run(input);
  const kept = { ...sums, gradient: sums.gradient.slice(), statistics: sums.statistics.slice() };
  await gradient.release();
  return kept;
}

/** Eight grains in calls of `grains`, the calls' sums added along the tree as trainers do. */
export async function sumInCallsOf(
  grains: number,
  engine: Engine,
  trainable: Trainable,
  input: GradientInput,
  grainRows: number,
): Promise<GradientSums> {
  const gradient = await engine.compileGradient(trainable, { grainRows, grains });
  const part = <T extends Float32Array | Int32Array | Uint8Array>(whole: T, call: number): T =>
    whole.slice((call * grains * whole.length) / 8, ((call + 1) * grains * whole.length) / 8) as T;
  const parts: { readonly first: number; readonly sums: GradientSums }[] = [];
  for (let call = 0; call < 8 / grains; call++) {
    const sums = await gradient.run({
      parameters: input.parameters,
      statistics: input.statistics,
      features: part(input.features, call),
      labels: part(input.labels, call),
      rowWeights: part(input.rowWeights, call),
      dropoutMasks: input.dropoutMasks.map((mask) => part(mask, call)),
    });
    parts.push({ first: call * grains, sums: { ...sums, gradient: sums.gradient.slice(), statistics: sums.statistics.slice() } });
  }
  await gradient.release();
  const added = (each: (sums: GradientSums) => Float32Array): Float32Array =>
    addAlongTree(parts.map(({ first, sums }) => ({ first, grains, values: each(sums) })));
  return {
    loss: added(({ loss }) => Float32Array.of(loss))[0] ?? NaN,
    correct: parts.reduce((sum, { sums }) => sum + sums.correct, 0),
    gradient: added((sums) => sums.gradient),
    statistics: added((sums) => sums.statistics),
  };
}
