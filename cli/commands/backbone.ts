import { readFile } from "node:fs/promises";
import { CodedError } from "../../domain/errors.js";
import { cutBackbone } from "../../domain/job/cut-backbone.js";
import { byteSize, count, printable } from "../../domain/job/figures.js";
import { catalogEntries, topologyName } from "../../domain/network/catalog/catalog.js";
import { classifierOf, type Classifier } from "../../domain/network/classifier.js";
import type { Backbone } from "../../domain/network/backbone.js";
import { layerShapes, parameterCount } from "../../domain/network/shapes.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { untrainedBackbone } from "../../domain/training/untrained-backbone.js";
import { importBackbone } from "../../formats/backbone/import-backbone.js";
import { labelsOfFile } from "../../formats/passport/labels.js";
import { findBackbone, listBundledBackbones, readBundledBackbone } from "../../platform/backbone-store/bundled.js";
import { openLocal } from "../../services/local/local.js";
import { s3Access, storeLocation } from "../config.js";
import { statusLine } from "../status-line.js";
import { systemError } from "../system-error.js";
import { aligned } from "../table.js";
import { describeNetwork } from "./network-table.js";
import { readWeightSource } from "./weight-source.js";

export interface BackboneFlags {
  readonly store?: string;
  readonly json?: boolean;
}

export interface AddFlags extends BackboneFlags {
  readonly name?: string;
  readonly topology?: string;
  readonly sha256?: string;
  readonly preprocessing?: string;
  readonly stripPrefix?: string;
  readonly addPrefix?: string;
  readonly labels?: string;
  readonly keepClassifier?: boolean;
  readonly untrained?: boolean;
}

/** Labels that are printed of all. */
const LABELS_SHOWN = 3;

/** `graft backbone list`: what jobs can name, from the store and with graft, and which topologies can be added. */
export async function listBackbones(flags: BackboneFlags): Promise<void> {
  const { backbones } = await openLocal(storeLocation(flags), { store: s3Access() });
  const stored = await backbones.list();
  const bundled = (await listBundledBackbones()).filter(({ name }) => !stored.some((each) => each.name === name));
  const known = [
    ...stored.map((each) => ({ ...each, where: "store" })),
    ...(await Promise.all(
      bundled.map(async (each) => ({ ...each, digest: (await readBundledBackbone(each.name)).digest, where: "comes with graft" })),
    )),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
  if (flags.json === true) {
    for (const each of known) print(JSON.stringify({ kind: "backbone", ...each }));
    for (const topology of topologies()) print(JSON.stringify({ kind: "topology", ...topology }));
    return;
  }
  print(
    aligned([
      ["NAME", "DIGEST", "WHERE", "LICENCE"],
      ...known.map(({ name, digest, where, licence }) => [name, digest.slice(0, 12), where, printable(licence)]),
    ]),
  );
  print("\norigin");
  for (const { name, origin } of known) print(`  ${name}: ${printable(origin)}`);
  print("\nknown topologies, to be added with their weights (graft backbone add FILE --topology NAME)");
  for (const { topology, names } of topologies()) print(`  ${topology}: ${names.join(", ")}`);
}

/** `graft backbone add`: imports weights after checking every tensor, or draws them. */
export async function addBackbone(sources: readonly string[], flags: AddFlags): Promise<void> {
  const backbone = flags.untrained === true ? untrained(sources, flags) : await imported(sources, flags);
  const { backbones } = await openLocal(storeLocation(flags), { store: s3Access() });
  const { name } = backbone;
  const before = (await backbones.list()).find((known) => known.name === name)?.digest;
  const { digest, outcome } = await backbones.add(backbone);

  const { network, origin, licence } = backbone;
  const { prefix, cut } = cutBackbone({ backbone: { lastLayer: undefined }, preprocessing: {}, cut: undefined }, backbone);
  const feature = layerShapes(prefix).get(cut) ?? [];
  const classifier = classifierOf(network);
  const parameters = parameterCount(network).total;
  if (flags.json === true)
    return print(
      JSON.stringify({
        name,
        digest,
        outcome,
        cut,
        featureShape: feature,
        parameters,
        preprocessing: backbone.preprocessing,
        classifier: classifier ?? null,
        labels: backbone.labels?.length ?? 0,
        origin,
        licence,
      }),
    );
  print(
    `${name} ${before === digest ? "is there already" : "added"} (${digest.slice(0, 12)}${before !== digest && outcome === "exists" ? ", the same network as one that is there under another name" : ""})`,
  );
  print(
    aligned([
      ["  feature", `[${feature.join(", ")}] at ${printable(cut)}`],
      ["  parameters", count(parameters)],
      ["  pictures", preprocessingText(backbone.preprocessing)],
      ...(classifier ? [["  classifier", classifierText(classifier, backbone.labels)]] : []),
      ["  origin", printable(origin)],
      ["  licence", printable(licence)],
    ]),
  );
  if (before !== undefined && before !== digest)
    print(`note: ${name} was ${before.slice(0, 12)} until now; a job file can still ask for it with backbone.digest`);
  const flagsNeeded = backbone.untrained ? " --cut input --batch-norm BATCH" : "";
  print(`try it: graft train DIR --backbone ${name}${flagsNeeded}`);
}

async function imported(sources: readonly string[], flags: AddFlags): Promise<Backbone> {
  if (sources.length === 0)
    throw new CodedError("USAGE_INVALID", "expected a file, a folder or a URL of weights, or --untrained with --topology; found none");
  const preprocessing = preprocessingOf(flags.preprocessing);
  const labels = flags.labels === undefined ? undefined : await readLabels(flags.labels);
  const status = statusLine();
  const weights = await readWeightSource(sources, flags.sha256, status.show).finally(status.clear);
  return importBackbone({
    ...weights,
    name: flags.name ?? weights.name,
    sourceName: weights.name,
    topology: flags.topology,
    preprocessing,
    prefix: { strip: flags.stripPrefix, add: flags.addPrefix },
    keepClassifier: flags.keepClassifier,
    labels,
  });
}

/** `--untrained`, beside which nothing may be given that is about a file. */
function untrained(sources: readonly string[], flags: AddFlags): Backbone {
  const { topology, name, sha256, stripPrefix, addPrefix, labels, keepClassifier } = flags;
  const ofFiles = {
    [sources[0] ?? ""]: sources[0],
    "--sha256": sha256,
    "--strip-prefix": stripPrefix,
    "--add-prefix": addPrefix,
    "--labels": labels,
    "--keep-classifier": keepClassifier,
  };
  const given = Object.entries(ofFiles).find(([, value]) => value !== undefined);
  if (given) throw new CodedError("USAGE_INVALID", `--untrained draws the weights, so no file is read; leave ${given[0]} out`);
  if (topology === undefined)
    throw new CodedError("USAGE_INVALID", "--untrained: expected a --topology beside it, such as resnet18_v2_224 (graft backbone list)");
  return untrainedBackbone(topology, name, preprocessingOf(flags.preprocessing));
}

/** `graft backbone show`: layers, shapes, legal cuts, parameters, multiply-adds. */
export async function showBackbone(name: string, flags: BackboneFlags): Promise<void> {
  const { backbones } = await openLocal(storeLocation(flags), { store: s3Access() });
  const { backbone, digest } = await findBackbone(backbones, name, undefined);
  const { network, preprocessing, origin, licence, labels } = backbone;
  const classifier = classifierOf(network);
  const { layers, parameters, multiplyAdds } = describeNetwork(network);
  if (flags.json === true)
    return print(
      JSON.stringify({
        name,
        digest,
        origin,
        licence,
        preprocessing,
        inputShape: network.inputShape,
        output: network.output,
        classifier: classifier ?? null,
        labels: labels ?? [],
        parameters,
        multiplyAdds,
        layers,
      }),
    );
  print(
    aligned([
      ["name", name],
      ["digest", digest],
      ["origin", printable(origin)],
      ["licence", printable(licence)],
      ["pictures", preprocessingText(preprocessing)],
      ...(classifier ? [["classifier", classifierText(classifier, labels)]] : []),
      ["parameters", `${count(parameters)} (${byteSize(4 * parameters)})`],
      ["multiply-adds", `${count(multiplyAdds)} a picture`],
    ]),
  );
  const rows = layers.map((layer) => [
    layer.cut ? "*" : "",
    printable(layer.name),
    layer.kind,
    `[${layer.shape.join(", ")}]`,
    count(layer.parameters),
    count(layer.multiplyAdds),
    layer.cut ? byteSize(layer.featureBytes) : "",
  ]);
  print("");
  print(
    aligned(
      [["CUT", "LAYER", "KIND", "SHAPE", "PARAMETERS", "MULTIPLY-ADDS", "FEATURE"], ...rows],
      ["left", "left", "left", "left", "right", "right", "right"],
    ),
  );
  print(`\n* legal cut: --cut LAYER freezes everything down to and including that line; FEATURE is what is kept for each picture`);
}

/** By family: what `--topology` takes. */
function topologies(): { readonly topology: string; readonly names: readonly string[] }[] {
  const families = new Map<string, Set<string>>();
  for (const { topology, options } of catalogEntries()) {
    const names = families.get(topology) ?? new Set();
    families.set(topology, names.add(topologyName(topology, options)));
  }
  return [...families].map(([topology, names]) => ({ topology, names: [...names] }));
}

function preprocessingText({ size, resize, resizeTo, channels, mean, deviation }: Preprocessing): string {
  const fit = resize === "STRETCH" ? `stretched to ${resizeTo} x ${resizeTo}` : `short side to ${resizeTo}`;
  const how = resize === "STRETCH" && resizeTo === size ? "stretched" : `${fit}, centre cut out`;
  const short = (values: readonly number[]): string =>
    values.every((value) => value === values[0]) ? String(values[0]) : `[${values.join(", ")}]`;
  return `${size} x ${size} ${channels}, ${how}, (pixel - ${short(mean)}) / ${short(deviation)}`;
}

/** The layer, what a job's features are by default, and its labels. */
function classifierText({ layer, input, classes }: Classifier, labels: readonly string[] | undefined): string {
  const outputs = `${printable(layer)} on ${printable(input)}, ${count(classes)} outputs`;
  if (labels === undefined) return `${outputs} without labels (--labels FILE)`;
  const shown = labels.slice(0, LABELS_SHOWN).map(printable).join("; ");
  return `${outputs}, ${count(labels.length)} labels: ${shown}${labels.length > LABELS_SHOWN ? "; …" : ""}`;
}

async function readLabels(file: string): Promise<string[]> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    const found = systemError(cause) === "ENOENT" ? "nothing there" : systemError(cause);
    throw new CodedError("USAGE_INVALID", `--labels ${file}: expected a text file with one label a line, found ${found}`, {}, cause);
  });
  return labelsOfFile(bytes, `--labels ${file}`);
}

/** Fields of `--preprocessing`, each checked; all of them are optional. */
function preprocessingOf(text: string | undefined): Partial<Preprocessing> | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw usage(
      `expected JSON such as {"size":150,"mean":[0,0,0],"deviation":[255,255,255]}, found ${JSON.stringify(text.slice(0, 80))}`,
      cause,
    );
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw usage(`expected a JSON object, found ${text.slice(0, 80)}`);
  for (const [field, found] of Object.entries(value)) {
    const rule = Object.hasOwn(preprocessingFields, field) ? preprocessingFields[field as keyof Preprocessing] : undefined;
    if (rule === undefined)
      throw usage(`unknown field ${JSON.stringify(field)}; the fields are ${Object.keys(preprocessingFields).join(", ")}`);
    if (!rule.holds(found)) throw usage(`${field} must be ${rule.expected}, found ${JSON.stringify(found)}`);
  }
  return value;
}

const isSide = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 4096;
const isThree = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length === 3 && value.every((each) => Number.isFinite(each));
const preprocessingFields: Readonly<
  Record<keyof Preprocessing, { readonly expected: string; readonly holds: (value: unknown) => boolean }>
> = {
  size: { expected: "a whole number from 1 to 4096", holds: isSide },
  resize: { expected: '"STRETCH" or "SHORT_SIDE"', holds: (value) => value === "STRETCH" || value === "SHORT_SIDE" },
  resizeTo: { expected: "a whole number from 1 to 4096", holds: isSide },
  channels: { expected: '"RGB" or "BGR"', holds: (value) => value === "RGB" || value === "BGR" },
  mean: { expected: "three numbers", holds: isThree },
  deviation: { expected: "three numbers greater than 0", holds: (value) => isThree(value) && value.every((each) => each > 0) },
};

function usage(problem: string, cause?: unknown): CodedError {
  return new CodedError("USAGE_INVALID", `--preprocessing: ${problem}`, {}, cause);
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
