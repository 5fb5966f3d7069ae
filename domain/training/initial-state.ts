import { CodedError } from "../errors.js";
import { exactLog } from "../exact-math.js";
import type { ResolvedJob } from "../job/job.js";
import type { Backbone } from "../network/backbone.js";
import { classifierRow, sameClassName } from "../network/classifier.js";
import type { Tensor, Weights } from "../network/network.js";
import { renameTensors } from "../network/rename-tensors.js";
import { sameShape } from "../network/shapes.js";
import { initializeParameters, initializeStatistics } from "./initialize.js";
import { tensorsOf } from "./parameters.js";
import type { TrainingShape } from "./training-plan.js";

/** What training starts from: filled in. */
export interface InitialState {
  /** `[layout.length]` */
  readonly parameters: Float32Array;
  /** `[statisticsLayout.length]` */
  readonly statistics: Float32Array;
}

/** Tensors of a finished result or of a weights file, by the names that they have there. */
export interface GivenWeights {
  /** For messages. */
  readonly from: string;
  readonly tensors: Weights;
  /** Of a result of graft: what it was trained on. */
  readonly origin: { readonly backboneDigest: string; readonly classes: readonly string[] } | undefined;
}

/** `head/` begins the names of all layers that `headNetwork` makes. */
const HEAD = "head/";
const OUTPUT = "head/output";
const PROBLEMS_SHOWN = 10;

/**
 * Fills `state` with what the job starts its training from: the head from its initialiser, the tail from the backbone (or, for random weights, from the initialiser too); over that the
 * tensors of a result, or the output of an old class. A pure function of job, backbone and given weights.
 * @throws CodedError WEIGHTS_INVALID where given tensors do not fit, USAGE_INVALID where no name has the prefix to strip, SPEC_INVALID where `head.initialFromClass` is no class of the dataset
 */
export function initializeState(
  state: InitialState,
  plan: Pick<TrainingShape, "layout" | "statisticsLayout" | "recipe" | "classes" | "outputs">,
  job: Pick<ResolvedJob, "head" | "initialWeights">,
  { backbone, digest }: { readonly backbone: Backbone; readonly digest: string },
  given: GivenWeights | undefined,
): void {
  // 1. Everything drawn; moving statistics as those of a layer that has seen nothing.
  initializeParameters(state.parameters, plan.layout, job.head.initializer, plan.recipe.seed);
  initializeStatistics(state.statistics, plan.statisticsLayout);

  // 2. The tail as the backbone has it.
  const targets = new Map([...tensorsOf(plan.layout, state.parameters), ...tensorsOf(plan.statisticsLayout, state.statistics)]);
  if (job.initialWeights.kind !== "random") copyTail(targets, backbone.weights);

  // 3. Over that, what the job says.
  if (job.initialWeights.kind === "result" && given !== undefined)
    copyGiven(targets, renameTensors(given.tensors, job.initialWeights), given, plan.classes, digest);
  if (job.head.initialFromClass !== undefined) startFromClass(targets, plan, backbone, job.head.initialFromClass);
}

function copyTail(targets: ReadonlyMap<string, Tensor>, weights: Weights): void {
  for (const [name, { data }] of targets) {
    const found = weights.get(name);
    if (!name.startsWith(HEAD) && found !== undefined) data.set(found.data);
  }
}

/** Every tensor of the head must be given; one of the tail that is not, starts from the backbone, if that is the one that the result stood on. */
function copyGiven(
  targets: ReadonlyMap<string, Tensor>,
  tensors: Weights,
  { from, origin }: GivenWeights,
  classes: readonly string[],
  backboneDigest: string,
): void {
  if (
    origin !== undefined &&
    !(origin.classes.length === classes.length && origin.classes.every((name, index) => name === classes[index]))
  ) {
    throw weightsInvalid(
      from,
      `its classes are ${listed(origin.classes)}, the dataset has ${listed(classes)}; use it as a backbone instead (graft backbone add)`,
    );
  }
  const problems: string[] = [];
  for (const [name, { shape, data }] of targets) {
    const found = tensors.get(name);
    if (found === undefined) {
      if (name.startsWith(HEAD) || (origin !== undefined && origin.backboneDigest !== backboneDigest))
        problems.push(`missing: ${name} [${shape.join(", ")}]`);
    } else if (!sameShape(found.shape, shape)) {
      problems.push(`misshaped: ${name} must be [${shape.join(", ")}], found [${found.shape.join(", ")}]`);
    } else if (found.data.some((value) => !Number.isFinite(value))) problems.push(`not finite: ${name}`);
    else data.set(found.data);
  }
  for (const name of tensors.keys()) if (!targets.has(name)) problems.push(`surplus: ${name}, which is not trained here`);
  if (problems.length === 0) return;
  const more = problems.length > PROBLEMS_SHOWN ? `\n  and ${problems.length - PROBLEMS_SHOWN} more` : "";
  throw weightsInvalid(
    from,
    `${problems.length} of its tensors do not fit what is trained above the cut; give backbone, cut and head of the run that it comes from, or initialWeights.prefix${problems
      .slice(0, PROBLEMS_SHOWN)
      .map((problem) => `\n  ${problem}`)
      .join("")}${more}`,
  );
}

/**
 * The output of the class from the weights w and the bias b that the backbone's classifier of C classes had for it; with two classes the other output from their negative; with a single
 * logit, which speaks for the second class, that logit. With one or two outputs the old logit z alone decides, so the bias becomes b - ln(C - 1): the old softmax gives the class the
 * log-odds z - ln(sum of exp(z_j) over the others), which is that much where the others have logits about 0, their mean.
 */
function startFromClass(
  targets: ReadonlyMap<string, Tensor>,
  { classes, outputs }: Pick<TrainingShape, "classes" | "outputs">,
  backbone: Backbone,
  className: string,
): void {
  const row = classifierRow(backbone, className);
  const label = classes.findIndex((name) => sameClassName(name, className));
  if (label < 0)
    throw new CodedError(
      "SPEC_INVALID",
      `head.initialFromClass: "${className}" is a class of ${backbone.name}, but not of the dataset, whose classes are ${listed(classes)}`,
    );
  const kernel = targets.get(`${OUTPUT}/kernel`);
  const bias = targets.get(`${OUTPUT}/bias`);
  if (kernel === undefined || bias === undefined || kernel.shape[0] !== row.kernel.length)
    throw weightsInvalid(
      backbone.name,
      `its class "${className}" has ${row.kernel.length} weights, the output layer here takes ${kernel?.shape[0] ?? 0} values; leave head.layers out and let backbone.lastLayer be the layer below its classifier`,
    );
  const threshold = classes.length === 2 && row.classes > 2 ? exactLog(row.classes - 1) : 0;
  const set = (output: number, sign: 1 | -1): void => {
    row.kernel.forEach((value, input) => (kernel.data[input * outputs + output] = sign * value));
    bias.data[output] = sign * (row.bias - threshold);
  };
  if (outputs === 1) set(0, label === 1 ? 1 : -1);
  else {
    set(label, 1);
    if (outputs === 2) set(1 - label, -1);
  }
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).map((name) => JSON.stringify(name));
  return `${shown.join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
}

function weightsInvalid(what: string, problem: string): CodedError {
  return new CodedError("WEIGHTS_INVALID", `initial weights from ${what}: ${problem}`);
}
