import { editDistance } from "../edit-distance.js";
import { CodedError } from "../errors.js";
import type { Backbone } from "./backbone.js";
import { cutAt } from "./cut.js";
import { INPUT, type Layer, type LayerKind, type Network, type Shape } from "./network.js";
import { layerShapes } from "./shapes.js";

/** A network's own output layer. */
export interface Classifier {
  /** The dense layer, or the 1x1 convolution of a `[1, 1, channels]` map. */
  readonly layer: string;
  /** The layer whose output is the feature vector that the classifier weighs; `INPUT` where nothing is computed before it. */
  readonly input: string;
  /** Outputs of `layer`; a single one tells two classes apart. */
  readonly classes: number;
}

/** What a classifier weighs a class by: score = kernel . feature + bias. */
export interface ClassifierRow {
  /** One value for each value of the feature, in the order of a flattened feature. */
  readonly kernel: Float32Array;
  readonly bias: number;
  /** The position of the class among the labels. */
  readonly index: number;
  /** Outputs of the classifier. */
  readonly classes: number;
}

const afterClassifier: ReadonlySet<LayerKind["kind"]> = new Set(["flatten", "softmax", "sigmoid", "dropout"]);
const beforeClassifier: ReadonlySet<LayerKind["kind"]> = new Set(["flatten", "dropout"]);
const denseTops: ReadonlySet<LayerKind["kind"]> = new Set(["dense", "dropout", "flatten", "relu", "relu6", "sigmoid", "softmax"]);
const nearestShown = 3;

/**
 * The network's own classifier: the last dense layer, or 1x1 convolution of a `[1, 1, channels]` map, whose output leaves the network through nothing but
 * flatten, softmax, sigmoid and dropout. Undefined where the network ends otherwise, in pooled features for instance.
 * @throws CodedError NETWORK_INVALID
 */
export function classifierOf(network: Network): Classifier | undefined {
  const shapes = layerShapes(network);
  const layers = new Map(network.layers.map((layer) => [layer.name, layer]));
  const lowest = (from: string, passed: ReadonlySet<LayerKind["kind"]>): string => {
    let name = from;
    for (let layer = layers.get(name); layer && changesNothing(layer, passed, shapes); layer = layers.get(name)) name = inputOf(layer);
    return name;
  };

  const layer = layers.get(lowest(network.output, afterClassifier));
  if (layer?.kind !== "dense" && !(layer?.kind === "conv2d" && isDense(layer, shapes))) return undefined;
  const classes = layer.kind === "dense" ? layer.units : layer.filters;
  return { layer: layer.name, input: lowest(inputOf(layer), beforeClassifier), classes };
}

/**
 * The network that ends at `lastLayer`; what comes after it is left out. @throws CodedError CUT_ILLEGAL where other layers pass by it.
 */
export function withoutClassifier(network: Network, lastLayer: string): Network {
  return lastLayer === network.output ? network : cutAt(network, lastLayer).prefix;
}

/**
 * The layer below all dense layers at the network's end, with their activations, dropout and flatten: what features come from where a whole top is left
 * out. The network's output where it ends in no dense layer, or has nothing below them.
 */
export function belowDenseLayers(network: Network): string {
  const layers = new Map(network.layers.map((layer) => [layer.name, layer]));
  let base: string | undefined;
  for (let layer = layers.get(network.output); layer && denseTops.has(layer.kind); layer = layers.get(inputOf(layer))) {
    // Dropout and flatten belong to the dense layer above them; an activation may belong to a convolution below.
    const belongsToDense = base === layer.name && (layer.kind === "dropout" || layer.kind === "flatten");
    if (layer.kind === "dense" || belongsToDense) base = inputOf(layer);
  }
  return base === undefined || base === INPUT ? network.output : base;
}

/** @throws CodedError WEIGHTS_INVALID where the network has no classifier that could be kept or labelled. */
export function needClassifier(network: Network): Classifier {
  const classifier = classifierOf(network);
  if (classifier !== undefined) return classifier;
  throw new CodedError(
    "WEIGHTS_INVALID",
    `${network.name} ends in "${network.output}", which is no classifier that could be kept or labelled (a dense layer, or a 1x1 convolution of one pixel); give its weights with their top, or neither --labels nor --keep-classifier`,
  );
}

/**
 * Labels must name the outputs of the network's classifier one by one; one output has two, of which it is the second's.
 * @throws CodedError WEIGHTS_INVALID where there is no classifier, or another number of outputs.
 */
export function checkLabels(network: Network, labels: readonly string[]): void {
  const { layer, classes } = needClassifier(network);
  const expected = labelsOf(classes);
  if (labels.length === expected) return;
  const background = expected === labels.length + 1 ? "; if its first class is the background, put a line for it before the others" : "";
  throw new CodedError(
    "WEIGHTS_INVALID",
    `a top whose classes do not match: layer "${layer}" of ${network.name} tells ${expected} classes apart, found ${labels.length} labels; give the labels that belong to these weights, one a line in the order of its outputs${background}`,
    { layer, expected, found: labels.length },
  );
}

/**
 * The column of a class in the classifier's kernel, and its bias. Names are compared without case, and `_`, `-` and spaces are equal; a label that lists
 * synonyms ("hot dog, hotdog, red hot") is meant by any of them, unless another label is exactly that name. Of a single output, the row of the second
 * class is the output's own and that of the first its negative, since sigmoid(-x) = 1 - sigmoid(x).
 * @throws CodedError SPEC_INVALID where there is no classifier, no labels, no such class (the nearest are named), or several; WEIGHTS_INVALID
 */
export function classifierRow(backbone: Pick<Backbone, "name" | "network" | "weights" | "labels">, className: string): ClassifierRow {
  const { name, network, weights, labels } = backbone;
  const classifier = classifierOf(network);
  const what = `class ${JSON.stringify(className)}: backbone ${name}`;
  if (classifier === undefined)
    throw new CodedError(
      "SPEC_INVALID",
      `${what} has no classifier of its own, it ends in "${network.output}"; add the backbone with its top and with --labels, which keeps it`,
    );
  if (labels === undefined)
    throw new CodedError(
      "SPEC_INVALID",
      `${what} does not say how its ${classifier.classes} outputs are called; add the backbone with --labels`,
    );
  checkLabels(network, labels);

  const index = indexOfClass(labels, className, what);
  const { layer, classes } = classifier;
  const kernel = weights.get(`${layer}/kernel`);
  if (kernel === undefined) throw new CodedError("WEIGHTS_INVALID", `backbone ${name}: "${layer}/kernel" is missing`);
  const column = classes === 1 ? 0 : index;
  const sign = classes === 1 && index === 0 ? -1 : 1;
  return {
    kernel: Float32Array.from({ length: kernel.data.length / classes }, (_, row) => sign * kernel.data[row * classes + column]!),
    bias: sign * (weights.get(`${layer}/bias`)?.data[column] ?? 0),
    index,
    classes,
  };
}

/** Whether two names of classes are the same but for case, `_`, `-` and spaces. */
export function sameClassName(one: string, other: string): boolean {
  return comparable(one) === comparable(other);
}

function indexOfClass(labels: readonly string[], className: string, what: string): number {
  const wanted = comparable(className);
  const whole = positions(labels, (label) => comparable(label) === wanted);
  const found = whole.length > 0 ? whole : positions(labels, (label) => synonyms(label).includes(wanted));
  const [index, ...others] = found;
  if (index === undefined) {
    const nearest = nearestLabels(labels, wanted);
    throw new CodedError("SPEC_INVALID", `${what} has no such class among its ${labels.length}; did you mean ${quoted(nearest)}?`, {
      nearest,
    });
  }
  if (others.length > 0) {
    const lines = found.map((each) => `${each + 1} ${JSON.stringify(labels[each])}`).join(", ");
    throw new CodedError(
      "SPEC_INVALID",
      `${what} has ${found.length} classes of that name (lines of its labels: ${lines}); give one of them another name in the labels and add the backbone again`,
      { lines: found.map((each) => each + 1) },
    );
  }
  return index;
}

function positions(labels: readonly string[], fits: (label: string) => boolean): number[] {
  return labels.flatMap((label, index) => (fits(label) ? [index] : []));
}

function comparable(text: string): string {
  return text
    .normalize("NFC")
    .toLowerCase()
    .replace(/[\s_-]+/g, " ")
    .trim();
}

function synonyms(label: string): string[] {
  return label.split(",").map(comparable);
}

function nearestLabels(labels: readonly string[], wanted: string): string[] {
  return labels
    .map((label) => ({ label, distance: Math.min(...synonyms(label).map((each) => editDistance(wanted, each))) }))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, nearestShown)
    .map(({ label }) => label);
}

function quoted(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(", ");
}

/** How many labels go with so many outputs. */
function labelsOf(classes: number): number {
  return classes === 1 ? 2 : classes;
}

function inputOf(layer: Layer): string {
  return layer.inputs[0] ?? INPUT;
}

/** Whether a layer only hands its values on, perhaps in another shape or scaled as a whole. */
function changesNothing(layer: Layer, passed: ReadonlySet<LayerKind["kind"]>, shapes: ReadonlyMap<string, Shape>): boolean {
  return passed.has(layer.kind) || (layer.kind === "globalAveragePool" && isPixel(shapes.get(inputOf(layer))));
}

function isDense(layer: Layer & { readonly kind: "conv2d" }, shapes: ReadonlyMap<string, Shape>): boolean {
  return layer.kernel[0] === 1 && layer.kernel[1] === 1 && isPixel(shapes.get(inputOf(layer))) && isPixel(shapes.get(layer.name));
}

function isPixel(shape: Shape | undefined): boolean {
  return shape?.length === 3 && shape[0] === 1 && shape[1] === 1;
}
