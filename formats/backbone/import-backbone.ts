import { CodedError } from "../../domain/errors.js";
import { matchWeights, weightsInvalid, type WeightsMatch } from "../../domain/network/assign-weights.js";
import { type Backbone, checkBackboneName } from "../../domain/network/backbone.js";
import {
  buildTopology,
  catalogEntries,
  parseTopologyName,
  topologyName,
  type TopologyOptions,
} from "../../domain/network/catalog/catalog.js";
import { belowDenseLayers, checkLabels, needClassifier, withoutClassifier } from "../../domain/network/classifier.js";
import { appendNetwork } from "../../domain/network/compose.js";
import { nameMapsFor, type NameMap } from "../../domain/network/name-maps.js";
import { INPUT, type Network, type Tensor, type Weights } from "../../domain/network/network.js";
import { type Preprocessing, settledPreprocessing } from "../../domain/network/preprocessing.js";
import { renameTensors, type PrefixChange } from "../../domain/network/rename-tensors.js";
import { resizeNetwork } from "../../domain/network/resize.js";
import { layerShapes, weightSpecs } from "../../domain/network/shapes.js";
import { decodeWeightFiles, type WeightFiles } from "./weight-files.js";

export interface ImportRequest {
  /** The backbone's name from now on; often that of the folder or file, out of which the topology is read. */
  readonly name: string;
  /** What the file, or its folder, was called; it may say how pictures are prepared. */
  readonly sourceName?: string | undefined;
  /** All files given, by name: one file, or the files of a folder. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** `mobilenet_v2_0.35_224` and the like, where the files do not say it. */
  readonly topology?: string | undefined;
  /** True where every one of the files was named by itself, so that one that is not read is a mistake. */
  readonly everyFile?: boolean | undefined;
  /** Changes the names of the file's tensors before they are read; only where the files bring no topology of their own. */
  readonly prefix?: PrefixChange | undefined;
  /** Overrides the usual preprocessing of the topology; all of it for a network that the catalogue does not know. */
  readonly preprocessing?: Partial<Preprocessing> | undefined;
  readonly origin?: string | undefined;
  readonly licence?: string | undefined;
  /** Keeps the classifier at the end, which is left out otherwise: features come from below it. */
  readonly keepClassifier?: boolean | undefined;
  /** Of the outputs of the network's own classifier, which is kept then. By default those that the files bring, where it is kept. */
  readonly labels?: readonly string[] | undefined;
}

/**
 * Makes a backbone of weight files of unknown kind: a TensorFlow.js LayersModel, a Keras .h5, an ONNX model, safetensors, or what graft stored itself.
 * The topology is the file's own, else that of `topology`, else that of the file's or backbone's name, else the one of the catalogue whose tensors
 * match exactly; `origin` says which. A network that ends in `[height, width, channels]` gets a `global_average_pool`.
 * @throws CodedError FILE_FORMAT_INVALID, NETWORK_INVALID, WEIGHTS_INVALID, BACKBONE_UNKNOWN, USAGE_INVALID, SPEC_INVALID.
 */
export async function importBackbone(request: ImportRequest): Promise<Backbone> {
  checkBackboneName(request.name);
  const files = await decodeWeightFiles(request.files, request.preprocessing?.size);
  checkFilesRead(files, request);
  if (files.backbone) return changedBackbone(files.backbone, request);

  const renamed = { ...files, tensors: renameTensors(files.tensors, request.prefix ?? {}) };
  const found = files.network ? ofOwnTopology(files, files.network, request) : ofCatalogue(renamed, request);
  const keepClassifier = request.keepClassifier === true || request.labels !== undefined;
  const finished = finish(found.network, found.match.weights, keepClassifier);
  const preprocessing = settledPreprocessing(found.preprocessing, request.preprocessing);
  checkPicture(finished.network, preprocessing);
  const how = `${files.format}; ${found.how}; ${found.nameMap.name} names${finished.note}`;
  return {
    name: request.name,
    network: finished.network,
    weights: finished.weights,
    preprocessing,
    origin: request.origin === undefined ? how : `${request.origin} (${how})`,
    licence: request.licence ?? files.licence ?? "not stated",
    ...checkedLabels(finished.network, request.labels ?? (keepClassifier ? files.labels : undefined)),
  };
}

/** Refuses a file that the user named and that says nothing, and a prefix where it would change nothing. */
function checkFilesRead({ filesRead, format, mainFile, network, backbone }: WeightFiles, request: ImportRequest): void {
  const unread = [...request.files.keys()].find((name) => !filesRead.includes(name));
  if (request.everyFile === true && unread !== undefined)
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${unread}: expected more weights beside ${mainFile} (${format}), found none that can be read together with it; leave the file out`,
    );
  const { strip = "", add = "" } = request.prefix ?? {};
  if ((network || backbone) && (strip !== "" || add !== ""))
    throw new CodedError(
      "USAGE_INVALID",
      `${mainFile} (${format}) holds its own topology, whose layers and tensors go by the same names; leave the prefix out`,
    );
}

/** A backbone that graft stored, under another name and with what the request says of it. */
function changedBackbone(backbone: Backbone, request: ImportRequest): Backbone {
  if (request.topology !== undefined)
    throw new CodedError("USAGE_INVALID", `the files are a backbone of graft, which has its topology; leave ${request.topology} out`);
  const preprocessing = settledPreprocessing(backbone.preprocessing, request.preprocessing);
  const network = resizeNetwork(backbone.network, preprocessing.size);
  return {
    ...backbone,
    name: request.name,
    network,
    preprocessing,
    origin: request.origin ?? backbone.origin,
    licence: request.licence ?? backbone.licence,
    ...checkedLabels(network, request.labels ?? backbone.labels),
  };
}

function checkedLabels(network: Network, labels: readonly string[] | undefined): Pick<Backbone, "labels"> {
  if (labels === undefined) return {};
  checkLabels(network, labels);
  return { labels };
}

interface Found {
  readonly network: Network;
  readonly match: WeightsMatch;
  readonly nameMap: NameMap;
  readonly preprocessing: Preprocessing;
  /** How the topology was found, for people. */
  readonly how: string;
}

/** A topology to try. */
interface Candidate {
  readonly topology: string;
  readonly options: TopologyOptions;
}

function ofOwnTopology(files: WeightFiles, own: Network, request: ImportRequest): Found {
  const size = request.preprocessing?.size ?? own.inputShape[0] ?? 0;
  const network = resizeNetwork({ ...own, name: request.name }, size);
  const { match, nameMap } = bestMatch(network, files.tensors);
  if (match.problems.length > 0) throw weightsInvalid(network, nameMap, match.problems);
  const preprocessing = files.preprocessing ?? usualPreprocessing(request, files, size);
  return { network, match, nameMap, preprocessing, how: "topology of the file" };
}

/** The preprocessing that goes with the topology that a name speaks of; the request's own where it is whole. */
function usualPreprocessing(request: ImportRequest, files: WeightFiles, size: number): Preprocessing {
  const named = [...hints(request, files).map(({ name }) => name), request.sourceName ?? ""]
    .map(parseTopologyName)
    .find((parsed) => parsed !== undefined);
  const given = { resize: "STRETCH" as const, resizeTo: size, ...request.preprocessing, size };
  if (named) return settledPreprocessing(buildTopology(named.topology, { ...named.options, size }).preprocessing, request.preprocessing);
  const { channels, mean, deviation } = given;
  if (channels && mean && deviation) return { ...given, channels, mean, deviation };
  throw new CodedError(
    "USAGE_INVALID",
    `backbone ${request.name}: neither its name nor its file says how pictures are prepared for it; give --topology, or --preprocessing with channels, mean and deviation`,
  );
}

function ofCatalogue(files: WeightFiles, request: ImportRequest): Found {
  const size = request.preprocessing?.size;
  for (const { name, how } of hints(request, files)) {
    const parsed = parseTopologyName(name);
    if (parsed === undefined) continue;
    const closest = closestOf(variantsOf(parsed), files, size, how);
    if (closest.match.problems.length === 0) return closest;
    checkPrefix(request, files, closest);
    throw (
      misnamed(closest, closestOf(catalogEntries(size), files, size, "")) ??
      weightsInvalid(closest.network, closest.nameMap, closest.match.problems)
    );
  }
  if (request.topology !== undefined)
    throw new CodedError("BACKBONE_UNKNOWN", `"${request.topology}" is no topology of the catalogue, such as mobilenet_v2_1.0_224`);

  const closest = closestOf(catalogEntries(size), files, size, "the one topology of the catalogue that its tensors match");
  if (closest.match.problems.length === 0) return closest;
  checkPrefix(request, files, closest);
  const { message, details } = weightsInvalid(closest.network, closest.nameMap, closest.match.problems);
  throw new CodedError(
    "WEIGHTS_INVALID",
    `no topology of the catalogue has exactly these tensors; the closest is ${topologyOf(closest)}: ${message}`,
    { ...details },
  );
}

/** Where the weights do not fit the named topology but are exactly those of another: of another width, for instance. */
function misnamed({ network, match }: Found, other: Found): CodedError | undefined {
  if (other.match.problems.length > 0) return undefined;
  return new CodedError(
    "WEIGHTS_INVALID",
    `the weights do not fit ${network.name} (${match.problems[0] ?? ""}, and ${match.problems.length - 1} more such); they are exactly those of ${other.network.name}; give --topology ${other.network.name}, or the file that belongs to ${network.name}`,
    { problems: match.problems.slice(0, 1), problemCount: match.problems.length, fits: other.network.name },
  );
}

/** A prefix after which no tensor at all is known is itself the mistake. */
function checkPrefix({ prefix }: ImportRequest, { tensors }: WeightFiles, { network, match }: Found): void {
  const { strip = "", add = "" } = prefix ?? {};
  if ((strip === "" && add === "") || match.named > 0) return;
  const changes = [strip && `without ${JSON.stringify(strip)}`, add && `with ${JSON.stringify(add)} in front`].filter(
    (text) => text !== "",
  );
  const [expected] = weightSpecs(network);
  throw new CodedError(
    "USAGE_INVALID",
    `prefix of tensor names: ${changes.join(" and ")} the names are ${[...tensors.keys()].slice(0, 3).join(", ")}, and ${network.name} has no layer of such a name; expected names such as ${expected?.name}; give another prefix`,
    { strip, add },
  );
}

/** What may say the topology, the most explicit first. */
function hints(request: ImportRequest, files: WeightFiles): { readonly name: string; readonly how: string }[] {
  return [
    ...(request.topology === undefined ? [] : [{ name: request.topology, how: `topology ${request.topology} as given` }]),
    { name: files.mainFile.replace(/\.[^.]*$/, ""), how: `topology by the file's name ${files.mainFile}` },
    { name: request.name, how: `topology by the name ${request.name}` },
  ];
}

/** The named topology without and with its published tops; MobileNetV1 also with its batch norm folded. */
function variantsOf({ topology, options }: Candidate): Candidate[] {
  const topologies = topology === "mobilenet_v1" ? [topology, "mobilenet_v1_folded"] : [topology];
  const tops = new Set(
    catalogEntries()
      .filter((entry) => topologies.includes(entry.topology))
      .map((entry) => entry.options.top),
  );
  return topologies.flatMap((one) => [...tops].map((top) => ({ topology: one, options: { ...options, top } })));
}

/** The candidate with the fewest tensors that do not fit; the first of equals. */
function closestOf(candidates: readonly Candidate[], files: WeightFiles, size: number | undefined, how: string): Found {
  let closest: Found | undefined;
  for (const { topology, options } of candidates) {
    const chosen = { ...options, size: size ?? options.size };
    const { network, preprocessing } = buildTopology(topology, chosen);
    const found = bestMatch(network, files.tensors);
    if (closest === undefined || found.match.problems.length < closest.match.problems.length) {
      closest = {
        ...found,
        network,
        preprocessing,
        how: `${how}: ${topologyName(topology, chosen)}${chosen.top ? ` with ${chosen.top} classes` : ""}`,
      };
    }
    if (found.match.problems.length === 0) break;
  }
  if (closest === undefined) throw new CodedError("NETWORK_INVALID", `no topology of the catalogue takes pictures of ${size} pixels`);
  return closest;
}

/** By the first scheme of names under which every tensor fits, else by the one under which the fewest do not. */
function bestMatch(network: Network, tensors: ReadonlyMap<string, Tensor>): { match: WeightsMatch; nameMap: NameMap } {
  let best: { match: WeightsMatch; nameMap: NameMap } | undefined;
  for (const nameMap of nameMapsFor(tensors.keys())) {
    const match = matchWeights(network, tensors, nameMap);
    if (best === undefined || match.problems.length < best.match.problems.length) best = { match, nameMap };
    if (match.problems.length === 0) break;
  }
  if (best === undefined) throw new Error("no names to try");
  return best;
}

/** Features come from below the classifier, and pooled. @throws CodedError WEIGHTS_INVALID where there is no classifier to keep */
function finish(network: Network, weights: Weights, keepClassifier: boolean): { network: Network; weights: Weights; note: string } {
  let finished = keepClassifier ? network : withoutClassifier(network, belowDenseLayers(network));
  if (keepClassifier) needClassifier(network);
  let note = finished.layers.length < network.layers.length ? `; its classifier above "${finished.output}" is left out` : "";
  const shape = layerShapes(finished).get(finished.output) ?? [];
  if (shape.length === 3) {
    const pool: Network = {
      name: finished.name,
      inputShape: shape,
      layers: [{ kind: "globalAveragePool", name: "global_average_pool", inputs: [INPUT] }],
      output: "global_average_pool",
    };
    finished = appendNetwork(finished, pool);
    note += "; global_average_pool added";
  }
  const kept = weightSpecs(finished).map(({ name }) => [name, weights.get(name) as Tensor] as const);
  return { network: finished, weights: new Map(kept), note };
}

function checkPicture(network: Network, { size }: Preprocessing): void {
  const [height, width, channels] = network.inputShape;
  if (height !== size || width !== size || channels !== 3) {
    throw new CodedError(
      "NETWORK_INVALID",
      `${network.name} takes [${network.inputShape.join(", ")}], but its preprocessing makes [${size}, ${size}, 3]; give a fitting size`,
    );
  }
}

function topologyOf({ how }: Found): string {
  return how.slice(how.lastIndexOf(": ") + 2);
}
