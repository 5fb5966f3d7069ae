import { CodedError } from "../../domain/errors.js";
import { RandomStream, randomKey } from "../../domain/random.js";
import { limits } from "../../domain/limits.js";
import type { ListedFile, OpenedDataset } from "../../platform/dataset-source/dataset-source.js";
import { retryingDataset } from "../../platform/dataset-source/retrying.js";
import type { DecodedViews, ImageDecoder, RejectedImage } from "../../platform/image-decoder/image-decoder.js";
import type { Network } from "./network.js";
import type { SimulatedProcess } from "./process.js";
import { retryDepsOf } from "./store-link.js";

/** Height and width of a picture. */
export const SIZE = 2;
const VALUES = SIZE * SIZE * 3;
/** The first byte of what is no picture. */
const BROKEN = 0xff;
const DECODE_MS = 12;

export interface Picture extends ListedFile {
  readonly content: Uint8Array;
  readonly isRejected: boolean;
}

const classes = ["ash", "birch", "cedar"] as const;

/** Pictures of three classes: mostly distinct ones whose pixels lean to their class; some that are copies, one that stands in two classes, and some that are none. */
export function makePictures(count: number): Picture[] {
  const pictures: Picture[] = [];
  for (let index = 0; index < count; index++) {
    const label = Math.floor((index * classes.length) / count);
    const isRejected = index % 37 === 5;
    const source = index % 29 === 7 ? index - 1 : index === count - 1 ? 0 : index;
    const content = contentOf(source, Math.floor((source * classes.length) / count), isRejected);
    const path = `${classes[label]!}/${String(index).padStart(4, "0")}.jpg`;
    pictures.push({ path, bytes: content.length, state: String(index), content, isRejected });
  }
  return pictures;
}

function contentOf(index: number, label: number, isRejected: boolean): Uint8Array {
  const stream = new RandomStream(randomKey(7, "pictures"), index);
  const content = new Uint8Array(4 + VALUES);
  new DataView(content.buffer).setUint32(0, index, true);
  content[3] = isRejected ? BROKEN : 0;
  for (let i = 0; i < VALUES; i++) content[4 + i] = stream.below(160) + (i % classes.length === label ? 60 : 20);
  return content;
}

/** The dataset as one process sees it; passing failures are tried again by the adapter of production. */
export function datasetLink(process: SimulatedProcess, pictures: readonly Picture[], network: Network): OpenedDataset {
  const byPath = new Map(pictures.map((picture) => [picture.path, picture]));
  const dataset: OpenedDataset = {
    source: {
      location: "/pictures",
      async *list() {
        for (const { path, bytes, state } of await process.call(() => later(network, () => pictures))) yield { path, bytes, state };
      },
      read: ({ path }) =>
        process.call(() =>
          later(network, () => {
            if (network.drawFault("unreadable")) throw new CodedError("DATASET_UNREADABLE", `${path}: unreadable for now`);
            return byPath.get(path)!.content.slice();
          }),
        ),
    },
    manifest: undefined,
  };
  const policy = { attemptsMax: limits.retryAttempts, firstDelayMs: limits.retryFirstDelayMs, totalMsMax: limits.retryTotalMs };
  return retryingDataset(dataset, policy, retryDepsOf(process, network));
}

async function later<T>(network: Network, result: () => T): Promise<T> {
  await network.clock.sleep(network.transitMs());
  return result();
}

/** Takes the bytes as pixels; other views are the plain one, shifted by their number. */
export function simulatedDecoder(process: SimulatedProcess): ImageDecoder {
  const decodeViews = async (bytes: Uint8Array, views: readonly number[]): Promise<DecodedViews | RejectedImage> => {
    await process.clock.sleep(DECODE_MS);
    if (bytes[3] === BROKEN) return { kind: "rejected", reason: "expected a picture, found noise" };
    const plain = bytes.slice(4);
    return { kind: "decoded", pictures: views.map((view) => plain.map((value) => Math.min(255, value + 3 * view))) };
  };
  return {
    version: "simulated 1",
    decode: async (bytes) => {
      const decoded = await decodeViews(bytes, [0]);
      return decoded.kind === "rejected" ? decoded : { kind: "decoded", pixels: decoded.pictures[0]! };
    },
    decodeViews: (bytes, _geometry, { views }) => decodeViews(bytes, views),
    thumbnail: async (pixels) => pixels.slice(0, 3),
  };
}
