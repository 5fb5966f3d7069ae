import { CodedError } from "../../errors.js";
import type { Network } from "../network.js";
import { scaledToOne, type Preprocessing } from "../preprocessing.js";
import { inceptionV3 } from "./inception-v3.js";
import { mobilenetV1 } from "./mobilenet-v1.js";
import { mobilenetV2 } from "./mobilenet-v2.js";
import { resnetV1 } from "./resnet-v1.js";
import { resnetV2 } from "./resnet-v2.js";
import { resnetDepths, type ResnetDepth } from "./resnet-depths.js";
import { squeezenet } from "./squeezenet.js";
import { vgg16 } from "./vgg16.js";

export interface TopologyOptions {
  /** Multiplies the channels; 1 where a topology has no widths. */
  readonly width: number;
  /** Height and width of the picture in pixels. */
  readonly size: number;
  /** Classes of the original classifier, as logits; undefined leaves it out, so that the network ends in `global_average_pool`. */
  readonly top?: number | undefined;
}

interface Topology {
  /** Published widths; any width from 0.05 to 4 may be built. `[1]` for a topology without widths. */
  readonly widths: readonly number[];
  readonly size: number;
  readonly sizeMin: number;
  /** Classes of published tops, without top first. */
  readonly tops: readonly (number | undefined)[];
  readonly values: Pick<Preprocessing, "channels" | "mean" | "deviation">;
  /** Where the short side of a picture is brought to `of` parts for every `to` pixels of the size and the centre is cut out; else pictures are stretched. */
  readonly shortSide?: { readonly of: number; readonly to: number };
  readonly build: (name: string, options: TopologyOptions) => Network;
}

const sizeMax = 4_096;

/** Keras's "caffe" mode: BGR less the mean of ImageNet's training pictures. */
const caffeMean: Topology["values"] = { channels: "BGR", mean: [103.939, 116.779, 123.68], deviation: [1, 1, 1] };

/** Mean and deviation of ImageNet's training pictures, as PyTorch and Gluon state them for values from 0 to 1. */
const imagenetMean: Topology["values"] = { channels: "RGB", mean: [123.675, 116.28, 103.53], deviation: [58.395, 57.12, 57.375] };

function resnet(version: 1 | 2, depth: ResnetDepth): Topology {
  return {
    widths: [1],
    size: 224,
    sizeMin: 32,
    tops: [undefined, 1000],
    values: imagenetMean,
    shortSide: { of: 256, to: 224 },
    build: (name, { size, top }) => (version === 1 ? resnetV1 : resnetV2)(name, resnetDepths[depth], size, top),
  };
}

const topologies: Readonly<Record<string, Topology>> = {
  mobilenet_v2: {
    widths: [0.35, 0.5, 0.75, 1, 1.3, 1.4],
    size: 224,
    sizeMin: 32,
    tops: [undefined, 1000, 1001],
    values: scaledToOne,
    build: (name, { width, size, top }) => mobilenetV2(name, width, size, top),
  },
  mobilenet_v1: {
    widths: [0.25, 0.5, 0.75, 1],
    size: 224,
    sizeMin: 32,
    tops: [undefined, 1000, 1001],
    values: scaledToOne,
    build: (name, { width, size, top }) => mobilenetV1(name, width, size, top, false),
  },
  mobilenet_v1_folded: {
    widths: [0.25, 0.5, 0.75, 1],
    size: 224,
    sizeMin: 32,
    tops: [undefined, 1000, 1001],
    values: scaledToOne,
    build: (name, { width, size, top }) => mobilenetV1(name, width, size, top, true),
  },
  "squeezenet_1.1": {
    widths: [1],
    size: 227,
    sizeMin: 48,
    tops: [undefined],
    values: caffeMean,
    build: (name, { size }) => squeezenet(name, size),
  },
  inception_v3: {
    widths: [1],
    size: 299,
    sizeMin: 75,
    tops: [undefined, 1000],
    values: scaledToOne,
    build: (name, { size, top }) => inceptionV3(name, size, top),
  },
  resnet18_v1: resnet(1, 18),
  resnet34_v1: resnet(1, 34),
  resnet50_v1: resnet(1, 50),
  resnet18_v2: resnet(2, 18),
  resnet34_v2: resnet(2, 34),
  resnet50_v2: resnet(2, 50),
  vgg16: {
    widths: [1],
    size: 224,
    sizeMin: 32,
    tops: [undefined, 1000],
    values: caffeMean,
    build: (name, { size, top }) => vgg16(name, size, top),
  },
};

/**
 * Every topology with its published widths and tops: what an unknown weights file is tried against.
 * @param size Only topologies that take pictures of this size, and at it; by default all, each at its usual size.
 */
export function catalogEntries(size?: number): { readonly topology: string; readonly options: TopologyOptions }[] {
  return Object.entries(topologies)
    .filter(([, { sizeMin }]) => size === undefined || size >= sizeMin)
    .flatMap(([topology, { widths, size: usual, tops }]) =>
      widths.flatMap((width) => tops.map((top) => ({ topology, options: { width, size: size ?? usual, top } }))),
    );
}

/**
 * A known network with its usual preprocessing. The layer before a top, or the last one, is `global_average_pool`; only VGG-16's top stands on `flatten`.
 * @throws CodedError BACKBONE_UNKNOWN for an unknown topology, NETWORK_INVALID for a width, size or top that it does not have.
 */
export function buildTopology(
  topology: string,
  options: TopologyOptions,
): { readonly network: Network; readonly preprocessing: Preprocessing } {
  const known = Object.hasOwn(topologies, topology) ? topologies[topology] : undefined;
  if (known === undefined) throw unknown(topology);
  const { width, size, top } = options;
  const name = topologyName(topology, options);
  const refuse = (problem: string): never => {
    throw new CodedError("NETWORK_INVALID", `${topology}: ${problem}`, { topology });
  };
  if (known.widths.length === 1 && width !== 1) refuse(`it has no widths, found ${width}; leave the width out`);
  if (!(width >= 0.05 && width <= 4)) refuse(`the width must be from 0.05 to 4, found ${width}`);
  if (!Number.isInteger(size) || size < known.sizeMin || size > sizeMax)
    refuse(`the size must be from ${known.sizeMin} to ${sizeMax} pixels, found ${size}`);
  if (top !== undefined && known.tops.length === 1) refuse("no top is known for it; leave it out");
  const { values, shortSide } = known;
  const fit: Pick<Preprocessing, "resize" | "resizeTo"> = shortSide
    ? { resize: "SHORT_SIDE", resizeTo: Math.round((size * shortSide.of) / shortSide.to) }
    : { resize: "STRETCH", resizeTo: size };
  return { network: known.build(name, options), preprocessing: { size, ...fit, ...values } };
}

/** `mobilenet_v2_1.0_224`, `squeezenet_1.1_227`; a top shows in the network's layers only. */
export function topologyName(topology: string, { width, size }: Pick<TopologyOptions, "width" | "size">): string {
  const hasWidths = (topologies[topology]?.widths.length ?? 1) > 1;
  return hasWidths ? `${topology}_${Number.isInteger(width) ? width.toFixed(1) : width}_${size}` : `${topology}_${size}`;
}

/**
 * Reads `mobilenet_v2_1.0_224`, `inception_v3_150` or `squeezenet_1.1`; width and size may be missing, and `_anything` may follow.
 * File names of Keras are read as well (`mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top`, and `mobilenet_2_5_128_tf` for MobileNetV1 0.25), and of torchvision (`resnet18-f37072fd`: version 1). Undefined if it is none of these.
 */
export function parseTopologyName(name: string): { readonly topology: string; readonly options: TopologyOptions } | undefined {
  const plain = name
    .toLowerCase()
    .replace(/_?weights_tf_dim_ordering_tf_kernels/, "")
    .replace(/^resnet(18|34|50)(?:-[0-9a-f]{8})?(?=_\d|$)/, "resnet$1_v1")
    .replace(/^squeezenet(?!_1\.)/, "squeezenet_1.1")
    .replace(/^mobilenet_1_0_(\d+)_tf/, "mobilenet_v1_1.0_$1")
    .replace(/^mobilenet_(\d)_(\d)_(\d+)_tf/, "mobilenet_v1_0.$1$2_$3");
  // The longest name first, so that mobilenet_v1_folded is not taken for mobilenet_v1.
  const topology = Object.keys(topologies)
    .sort((a, b) => b.length - a.length)
    .find((candidate) => plain === candidate || plain.startsWith(`${candidate}_`));
  const known = topology === undefined ? undefined : topologies[topology];
  if (topology === undefined || known === undefined) return undefined;

  const rest = plain.slice(topology.length);
  const match = (known.widths.length > 1 ? /^(?:_(\d\.\d+|1)(?=_|$))?(?:_(\d{2,4})(?=_|$))?/ : /^()(?:_(\d{2,4})(?=_|$))?/).exec(rest);
  const width = match?.[1] ? Number(match[1]) : 1;
  const size = match?.[2] ? Number(match[2]) : known.size;
  return { topology, options: { width, size } };
}

function unknown(topology: string): CodedError {
  return new CodedError("BACKBONE_UNKNOWN", `"${topology}" is no known topology; known are ${Object.keys(topologies).join(", ")}`, {
    topology,
  });
}
