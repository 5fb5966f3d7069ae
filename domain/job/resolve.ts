import { cacheDomainPattern } from "../features/cache-domain.js";
import { limits } from "../limits.js";
import type { Preprocessing } from "../network/preprocessing.js";
import { defaults } from "./defaults.js";
import { FieldCheck, finite, fraction, integer, percent, positive, seedNumber, shareBelowOne } from "./field-check.js";
import { engineNames, type EngineName } from "../training/trainable-layers.js";
import type { HeadLayer, InitialWeights, Initializer, ResolvedJob, Workers } from "./job.js";
import { checkOperation } from "./operation.js";
import { specInvalid } from "./problems.js";
import { resolveRecipe } from "./resolve-recipe.js";
import { resolveViews } from "./resolve-views.js";
import type { DatasetSpec, HeadSpec, InitializerSpec, JobSpec, PreprocessingSpec, WorkersSpec } from "./spec.js";
import { type JobRunner, unsupportedFields } from "./unsupported.js";

/**
 * Checks the meaning of a spec and fills in the defaults. Pure: nothing depends on the machine or on the dataset.
 * `subject` is for the message: a job file's name, say.
 * @throws CodedError SPEC_INVALID with all problems, in the message and as `details.problems` (domain/job/problems.ts).
 */
export function resolveJob(spec: JobSpec, subject = "job", runner: JobRunner = "process"): ResolvedJob {
  const check = new FieldCheck();
  for (const problem of unsupportedFields(spec, runner)) check.report(problem.path, problem.message);
  checkOperation(spec, check);
  const training = resolveRecipe(spec.training ?? {}, check);
  const job: ResolvedJob = {
    dataset: resolveDataset(spec.dataset ?? {}, check),
    backbone: {
      name: check.text("backbone.name", spec.backbone?.name, defaults.backbone),
      digest: resolveDigest(spec.backbone?.digest, check),
      lastLayer: spec.backbone?.lastLayer === undefined ? undefined : check.text("backbone.lastLayer", spec.backbone.lastLayer, ""),
    },
    preprocessing: resolvePreprocessing(spec.preprocessing ?? {}, check),
    cut: spec.cut === undefined ? undefined : check.text("cut", spec.cut, ""),
    views: resolveViews(spec.views ?? {}, check),
    head: {
      layers: (spec.head?.layers ?? []).map((layer, index) => resolveHeadLayer(layer, `head.layers[${index}]`, check)),
      initializer: resolveInitializer(spec.head?.initializer ?? {}, check),
      initialFromClass: spec.head?.initialFromClass || undefined,
    },
    initialWeights: resolveInitialWeights(spec, check),
    training,
    minimumAccuracy: check.number("minimumAccuracy", spec.minimumAccuracy, defaults.minimumAccuracy, fraction),
    extractors: resolveWorkers("extractors", spec.extractors ?? {}, defaults.extractors, check),
    trainers: resolveWorkers("trainers", spec.trainers ?? {}, defaults.trainers, check),
    engines: {
      extraction: resolveEngine("extractors.engine", spec.extractors?.engine, check),
      training: resolveEngine("trainers.engine", spec.trainers?.engine, check),
    },
    numericsProfile: spec.numericsProfile ?? defaults.numericsProfile,
    cacheDomain: resolveCacheDomain(spec.cacheDomain, check),
  };
  if (job.trainers.min < 1) check.report("trainers.min", `must be at least 1, found ${job.trainers.min}`);
  if (job.trainers.min > training.grains) {
    check.report(
      "trainers.min",
      `must be at most the number of grains (${training.grains}), found ${job.trainers.min}: a grain cannot be divided`,
    );
  }
  if (check.problems.length > 0) throw specInvalid(subject, check.problems);
  return job;
}

function resolveDataset(given: DatasetSpec, check: FieldCheck): ResolvedJob["dataset"] {
  if (given.source === undefined)
    check.report("dataset.source", "is required: a folder with one folder for each class, or a manifest (.csv, .jsonl)");
  const split = given.split ?? {};
  const problemsBefore = check.problems.length;
  const part = (name: "trainPercent" | "validationPercent" | "testPercent"): number =>
    check.number(`dataset.split.${name}`, split[name], defaults.split[name], percent);
  const parts = { trainPercent: part("trainPercent"), validationPercent: part("validationPercent"), testPercent: part("testPercent") };
  const sum = parts.trainPercent + parts.validationPercent + parts.testPercent;
  // 33.3 + 33.3 + 33.4 may miss 100 by a rounding error. A part that is wrong by itself says nothing about the sum.
  if (check.problems.length === problemsBefore && Math.abs(sum - 100) > 1e-9) {
    const found = `${parts.trainPercent} + ${parts.validationPercent} + ${parts.testPercent} = ${sum}`;
    const incomplete = Object.keys(parts).some((name) => split[name as keyof typeof parts] === undefined);
    check.report("dataset.split", `must add up to 100, found ${found}${incomplete ? " (with the defaults of what was left out)" : ""}`);
  }
  if (parts.trainPercent === 0) check.report("dataset.split.trainPercent", "must be > 0, found 0: nothing would be trained on");
  return {
    source: check.text("dataset.source", given.source, "?"),
    split: { ...parts, seed: check.number("dataset.split.seed", split.seed, defaults.split.seed, seedNumber) },
    maxRejectedPercent: check.number("dataset.maxRejectedPercent", given.maxRejectedPercent, defaults.maxRejectedPercent, percent),
  };
}

function resolveDigest(given: string | undefined, check: FieldCheck): string | undefined {
  if (given !== undefined && !/^[0-9a-f]{64}$/.test(given)) {
    check.report(
      "backbone.digest",
      `must be 64 lower-case hex digits, found ${JSON.stringify(given.slice(0, 80))}; \`graft backbone list\` shows digests`,
    );
  }
  return given;
}

function resolvePreprocessing(given: PreprocessingSpec, check: FieldCheck): Partial<Preprocessing> {
  const path = "preprocessing";
  const size = check.optional(`${path}.size`, given.size, integer(1, 4096));
  const resizeTo = check.optional(`${path}.resizeTo`, given.resizeTo, integer(1, 8192));
  if (given.resize === "SHORT_SIDE" && resizeTo === undefined) check.report(`${path}.resizeTo`, "is required with resize: SHORT_SIDE");
  for (const name of ["resizeTo", "crop"] as const) {
    if (given[name] !== undefined && given.resize === undefined)
      check.report(`${path}.${name}`, "needs resize beside it: STRETCH or SHORT_SIDE");
  }
  if (size !== undefined && resizeTo !== undefined && resizeTo < size) {
    check.report(`${path}.resizeTo`, `must be at least size (${size}), found ${resizeTo}`);
  }
  const mean = check.triple(`${path}.mean`, given.mean, finite);
  const deviation = check.triple(`${path}.deviation`, given.deviation, positive);
  return {
    ...(size === undefined ? {} : { size }),
    ...(given.resize === undefined ? {} : { resize: given.resize }),
    ...(resizeTo === undefined ? {} : { resizeTo }),
    ...(given.channels === undefined ? {} : { channels: given.channels }),
    ...(mean === undefined ? {} : { mean }),
    ...(deviation === undefined ? {} : { deviation }),
  };
}

function resolveHeadLayer(given: NonNullable<HeadSpec["layers"]>[number], path: string, check: FieldCheck): HeadLayer {
  check.exactlyOne(path, { dense: given.dense, dropout: given.dropout });
  if (given.dropout !== undefined)
    return { kind: "dropout", rate: check.required(`${path}.dropout.rate`, given.dropout.rate, shareBelowOne, 0) };
  const dense = given.dense ?? { units: 1 };
  return {
    kind: "dense",
    units: check.required(`${path}.dense.units`, dense.units, integer(1, 65_536), 1),
    activation: dense.activation ?? defaults.activation,
  };
}

function resolveInitializer(given: InitializerSpec, check: FieldCheck): Initializer {
  check.atMostOne("head.initializer", { ...given });
  if (given.zeros !== undefined) return { kind: "zeros" };
  if (given.truncatedNormal !== undefined) {
    const stddev = check.number(
      "head.initializer.truncatedNormal.stddev",
      given.truncatedNormal.stddev,
      defaults.truncatedNormal.stddev,
      positive,
    );
    return { kind: "truncatedNormal", stddev };
  }
  return { kind: "glorotUniform" };
}

function resolveInitialWeights({ initialWeights: given = {}, head }: JobSpec, check: FieldCheck): InitialWeights {
  const path = "initialWeights";
  check.atMostOne(path, { fromResult: given.fromResult, random: given.random });
  if (given.prefix !== undefined && given.fromResult === undefined) check.report(`${path}.prefix`, "needs fromResult beside it");
  if (given.fromResult !== undefined && head?.initialFromClass)
    check.report("head.initialFromClass", `excludes ${path}.fromResult, which gives the output layer too; keep one of them`);
  if (given.random !== undefined) return { kind: "random" };
  if (given.fromResult === undefined) return { kind: "backbone" };
  const { strip = "", add = "" } = given.prefix ?? {};
  return { kind: "result", from: check.text(`${path}.fromResult`, given.fromResult, "?"), strip, add };
}

function resolveEngine(path: string, given: string | undefined, check: FieldCheck): EngineName | undefined {
  const known = engineNames.find((name) => name === given);
  if (given !== undefined && known === undefined)
    check.report(path, `must be one of ${engineNames.join(", ")}, found ${JSON.stringify(given.slice(0, 80))}`);
  return known;
}

function resolveCacheDomain(given: string | undefined, check: FieldCheck): string {
  if (given !== undefined && !(given.length <= limits.cacheDomainCharacters && new RegExp(cacheDomainPattern).test(given))) {
    check.report(
      "cacheDomain",
      `must be at most ${limits.cacheDomainCharacters} lower-case letters, digits and "-", with no "-" at either end; found ${JSON.stringify(given.slice(0, 80))}`,
    );
  }
  return given ?? "";
}

/** More workers than this on one job are a slip of the finger. */
const WORKERS_MAX = 4096;

function resolveWorkers(role: "extractors" | "trainers", given: WorkersSpec, fallback: Workers, check: FieldCheck): Workers {
  const min = check.optional(`${role}.min`, given.min, integer(0, WORKERS_MAX));
  const max = check.optional(`${role}.max`, given.max, integer(1, WORKERS_MAX));
  if (min !== undefined && max !== undefined && max < min) check.report(`${role}.max`, `must be at least min (${min}), found ${max}`);
  return { min: min ?? Math.min(fallback.min, max ?? fallback.min), max: max ?? Math.max(fallback.max, min ?? fallback.max) };
}
