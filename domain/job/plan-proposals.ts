import { CodedError } from "../errors.js";
import { legalCuts } from "../network/cut.js";
import { INPUT } from "../network/network.js";
import { streamingProblem, trainingShape } from "../training/training-plan.js";
import { cutBackbone, type CutBackbone } from "./cut-backbone.js";
import { byteSize, count } from "./figures.js";
import type { HeadLayer, ResolvedJob } from "./job.js";
import { type MemoryQuestion, trainerMemory, type TrainerMemory } from "./plan-memory.js";

/** A change of the job with which a trainer fits, and what it needs then. */
export interface Proposal {
  /** `training.batchSize: 16` */
  readonly change: string;
  readonly bytes: number;
}

type Kind = "feature memory" | "batch size" | "grains" | "views" | "units" | "cut" | "size" | "pictures";

/** What helps against what takes most. */
const remedies: readonly (readonly [largest: readonly (keyof TrainerMemory)[], kinds: readonly Kind[]])[] = [
  [["activations"], ["grains", "batch size", "cut", "size"]],
  [["features"], ["feature memory", "views", "cut", "size", "pictures"]],
  [
    ["parameters", "files", "backbone", "process"],
    ["units", "cut", "size"],
  ],
];

/** Pixels of sides that are tried. */
const SIZE_STEP = 32;

/**
 * The smallest changes of a job, one of each kind that helps, with which a trainer needs at most `memoryBytes` and its features can be held, by the same model as `trainerMemory`. None where no single change is enough.
 */
export function trainerProposals(question: MemoryQuestion, memoryBytes: number): Proposal[] {
  const needed = trainerMemory(question);
  const largestOf = (parts: readonly (keyof TrainerMemory)[]): number => Math.max(...parts.map((part) => needed[part]));
  const [, kinds] = [...remedies].sort(([a], [b]) => largestOf(b) - largestOf(a))[0]!;
  return kinds.flatMap((kind) => firstThatFits(variants[kind](question), memoryBytes) ?? []);
}

interface Variant {
  readonly change: string;
  readonly question: () => MemoryQuestion;
}

function firstThatFits(candidates: Iterable<Variant>, memoryBytes: number): Proposal | undefined {
  for (const { change, question } of candidates) {
    const bytes = bytesOf(question);
    if (bytes !== undefined && bytes <= memoryBytes) return { change, bytes };
  }
  return undefined;
}

/** Undefined for a job that cannot be: a network that does not take the size, features that can neither be held nor streamed. */
function bytesOf(question: () => MemoryQuestion): number | undefined {
  try {
    const changed = question();
    return streamingProblem(trainingShape(changed.job, changed.network, changed)) === undefined ? trainerMemory(changed).total : undefined;
  } catch (error) {
    if (error instanceof CodedError) return undefined;
    throw error;
  }
}

/** Changes of each kind, the smallest first. */
const variants: Readonly<Record<Kind, (question: MemoryQuestion) => Iterable<Variant>>> = {
  *"feature memory"(question) {
    for (let featureMemoryMib = powerOfTwoBelow(question.job.training.featureMemoryMib); featureMemoryMib >= 64; featureMemoryMib /= 2)
      yield {
        change: `training.featureMemoryMib: ${featureMemoryMib}`,
        question: () => ({ ...question, job: withRecipe(question.job, { featureMemoryMib }) }),
      };
  },
  *"batch size"(question) {
    for (let batchSize = powerOfTwoBelow(question.job.training.batchSize); batchSize >= 2; batchSize /= 2)
      yield { change: `training.batchSize: ${batchSize}`, question: () => ({ ...question, job: withRecipe(question.job, { batchSize }) }) };
  },
  *grains(question) {
    const { batchSize, grains: now } = question.job.training;
    for (let grains = 2 * now; 2 * grains <= batchSize; grains *= 2)
      yield { change: `training.grains: ${grains}`, question: () => ({ ...question, job: withRecipe(question.job, { grains }) }) };
  },
  *views(question) {
    const { job } = question;
    for (let views = job.views.count - 1; views >= 1; views--)
      yield { change: `views.count: ${views}`, question: () => ({ ...question, job: { ...job, views: { ...job.views, count: views } } }) };
  },
  *units(question) {
    const { job } = question;
    const widest = Math.max(0, ...job.head.layers.map((layer) => (layer.kind === "dense" ? layer.units : 0)));
    for (let units = powerOfTwoBelow(widest); units >= 2; units /= 2) {
      const layers = job.head.layers.map((layer): HeadLayer =>
        layer.kind === "dense" ? { ...layer, units: Math.min(layer.units, units) } : layer,
      );
      yield {
        change: `at most ${count(units)} units in head.layers`,
        question: () => ({ ...question, job: { ...job, head: { ...job.head, layers } } }),
      };
    }
  },
  *cut(question) {
    const { network, cut } = question.network;
    const cuts = legalCuts(network);
    for (const later of cut === INPUT ? cuts : cuts.slice(cuts.indexOf(cut) + 1))
      yield { change: `cut: ${later}`, question: () => changedNetwork(question, { cut: later }) };
  },
  *size(question) {
    const now = question.network.preprocessing.size;
    for (let size = Math.floor((now - 1) / SIZE_STEP) * SIZE_STEP; size >= SIZE_STEP; size -= SIZE_STEP)
      yield { change: `preprocessing.size: ${size}`, question: () => changedNetwork(question, { size }) };
  },
  *pictures(question) {
    const { counts } = question;
    const pictures = [counts.train, counts.validation, counts.test].flat().reduce((sum, value) => sum + value, 0);
    for (let share = 0.9; share > 0.05; share -= 0.1) {
      const part = (values: readonly number[]): number[] => values.map((value) => Math.floor(value * share));
      const fewer = { train: part(counts.train), validation: part(counts.validation), test: part(counts.test) };
      yield { change: `${count(Math.floor(pictures * share))} pictures`, question: () => ({ ...question, counts: fewer }) };
    }
  },
};

function withRecipe(job: ResolvedJob, change: Partial<ResolvedJob["training"]>): ResolvedJob {
  return { ...job, training: { ...job.training, ...change } };
}

/** The same network cut elsewhere or for pictures of another size. @throws CodedError NETWORK_INVALID */
function changedNetwork(
  question: MemoryQuestion,
  { cut = question.network.cut, size }: { readonly cut?: string; readonly size?: number },
): MemoryQuestion {
  const { network, preprocessing }: CutBackbone = question.network;
  const job = { backbone: { lastLayer: network.output }, preprocessing: size === undefined ? {} : { size }, cut };
  return { ...question, network: cutBackbone(job, { network, preprocessing }) };
}

function powerOfTwoBelow(value: number): number {
  let power = 1;
  while (2 * power < value) power *= 2;
  return power;
}

/** `training.grains: 8 (about 1.40 GB)`, listed. */
export function proposalsText(proposals: readonly Proposal[]): string {
  return proposals.map(({ change, bytes }) => `${change} (about ${byteSize(bytes)})`).join(", ");
}
