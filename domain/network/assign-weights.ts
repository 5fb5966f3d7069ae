import { CodedError } from "../errors.js";
import type { NameMap } from "./name-maps.js";
import { permuteAxes, permutedShape } from "./permute-axes.js";
import { elementCount, type Network, type Shape, type Tensor, type Weights } from "./network.js";
import { sameShape, weightSpecs } from "./shapes.js";

const problemsShown = 10;

/**
 * The network's weights out of a file's tensors: every tensor used exactly once, of the expected shape and finite.
 * Leading axes of length 1 may be missing or added: [1, 1, in, out] of a 1x1 convolution is the [in, out] of a dense layer.
 * @throws CodedError WEIGHTS_INVALID naming every missing, surplus, misshaped and non-finite tensor (the first ten).
 */
export function assignWeights(network: Network, tensors: ReadonlyMap<string, Tensor>, nameMap: NameMap): Weights {
  const { weights, problems } = matchWeights(network, tensors, nameMap);
  if (problems.length > 0) throw weightsInvalid(network, nameMap, problems);
  return weights;
}

export interface WeightsMatch {
  /** Empty where there are problems. */
  readonly weights: Weights;
  /** One line for each tensor that does not fit; empty if all do. */
  readonly problems: readonly string[];
  /** Tensors of the file whose names belong to some tensor of the network, whatever their shapes. */
  readonly named: number;
}

/** As `assignWeights`, but tells what does not fit instead of throwing. */
export function matchWeights(network: Network, tensors: ReadonlyMap<string, Tensor>, nameMap: NameMap): WeightsMatch {
  const specs = weightSpecs(network);
  const expected = new Set(specs.map((spec) => spec.name));
  const found = new Map<string, { readonly fileName: string; readonly tensor: Tensor }>();
  const surplus: string[] = [];
  for (const [fileName, tensor] of tensors) {
    const mapped = nameMap.map(fileName);
    // Keras 3 calls a depthwise kernel just a kernel.
    const depthwise = mapped?.replace(/\/kernel$/, "/depthwise_kernel");
    const name = mapped !== undefined && !expected.has(mapped) && depthwise !== undefined && expected.has(depthwise) ? depthwise : mapped;
    const other = name === undefined ? undefined : found.get(name);
    if (nameMap.ignores?.(fileName, tensor) === true && (name === undefined || !expected.has(name))) continue;
    if (name === undefined || !expected.has(name))
      surplus.push(`surplus: "${fileName}" [${tensor.shape.join(", ")}], which no layer needs`);
    else if (other) surplus.push(`surplus: "${fileName}" and "${other.fileName}" both stand for ${name}`);
    else found.set(name, { fileName, tensor });
  }

  const fitting: { readonly name: string; readonly shape: Shape; readonly tensor: Tensor; readonly axes: readonly number[] | undefined }[] =
    [];
  const missing: string[] = [];
  const wrong: string[] = [];
  for (const { name, shape } of specs) {
    const match = found.get(name);
    if (match === undefined) {
      missing.push(`missing: ${name} [${shape.join(", ")}]`);
      continue;
    }
    const { fileName, tensor } = match;
    const axes = nameMap.axes?.(name, tensor.shape.length);
    const turned = axes ? permutedShape(tensor.shape, axes) : tensor.shape;
    if (!sameShape(withoutLeadingOnes(turned), withoutLeadingOnes(shape)) || tensor.data.length !== elementCount(shape)) {
      const order = axes ? `, which is [${turned.join(", ")}] in the order of axes here` : "";
      wrong.push(`misshaped: ${name} must be [${shape.join(", ")}], found [${tensor.shape.join(", ")}] in "${fileName}"${order}`);
    } else {
      const bad = tensor.data.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) wrong.push(`not finite: ${name} holds ${tensor.data[bad]} at position ${bad} in "${fileName}"`);
      fitting.push({ name, shape, tensor, axes });
    }
  }
  const problems = [...missing, ...wrong, ...surplus];
  // Turned last, since many networks are tried that do not fit.
  const kept = problems.length > 0 ? [] : fitting;
  const weights = new Map(
    kept.map(({ name, shape, tensor, axes }) => [name, { shape, data: (axes ? permuteAxes(tensor, axes) : tensor).data }]),
  );
  return { weights, problems, named: found.size };
}

export function weightsInvalid(network: Network, nameMap: NameMap, problems: readonly string[]): CodedError {
  const shown = problems.slice(0, problemsShown).map((problem) => `\n  ${problem}`);
  const rest = problems.length > problemsShown ? `\n  and ${problems.length - problemsShown} more` : "";
  return new CodedError(
    "WEIGHTS_INVALID",
    `the weights do not fit ${network.name} (read by ${nameMap.name} names): ${problems.length} of its tensors are wrong; give the file that belongs to this network${shown.join("")}${rest}`,
    { problems: problems.slice(0, problemsShown), problemCount: problems.length },
  );
}

function withoutLeadingOnes(shape: Shape): Shape {
  const first = shape.findIndex((length) => length !== 1);
  return first < 0 ? [] : shape.slice(first);
}
