import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { availableParallelism, freemem, totalmem } from "node:os";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { byteSize } from "../../domain/job/figures.js";
import type { Network, Weights } from "../../domain/network/network.js";
import { listBundledBackbones, readBundledBackbone } from "../../platform/backbone-store/bundled.js";
import { defaultEngine, openEngine } from "../../platform/engine/engines.js";
import { SharpImageDecoder } from "../../platform/image-decoder/sharp.js";
import { storeErrorFrom } from "../../platform/object-store/filesystem-error.js";
import { filesystemObjectStore } from "../../platform/object-store/filesystem.js";

/** What a check found. With a remedy it is a problem. */
export interface Finding {
  readonly detail: string;
  readonly remedy?: string;
}

const nodeVersionMin = [20, 19] as const;
/** What an extractor and a trainer of the default network need. */
const MEMORY_BYTES_MIN = 1_000_000_000;
/** Features of ten thousand pictures of the default network, with a result. */
const FREE_BYTES_MIN = 200_000_000;
const pictureFormats = ["jpeg", "png", "webp", "gif"] as const;

export function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const detail = `${process.version} on ${process.platform}-${process.arch}`;
  const isOld = major < nodeVersionMin[0] || (major === nodeVersionMin[0] && minor < nodeVersionMin[1]);
  return isOld ? { detail, remedy: `install Node ${nodeVersionMin.join(".")} or newer` } : { detail };
}

export function checkMachine(): Finding {
  const detail = `${availableParallelism()} cores, ${byteSize(totalmem())} of memory, ${byteSize(freemem())} free`;
  return totalmem() < MEMORY_BYTES_MIN ? { detail, remedy: `${byteSize(MEMORY_BYTES_MIN)} of memory are needed` } : { detail };
}

/** Loads the engine and lets it add 1 x 2 + 3 x 4. */
export async function checkEngine(): Promise<Finding> {
  const engine = await openEngine(defaultEngine);
  const network: Network = {
    name: "doctor",
    inputShape: [2],
    layers: [{ kind: "dense", name: "sum", inputs: ["input"], units: 1, bias: false }],
    output: "sum",
  };
  const weights: Weights = new Map([["sum/kernel", { shape: [2, 1], data: Float32Array.of(2, 4) }]]);
  const forward = await engine.compileForward(network, weights, { batch: 1 });
  const [sum] = await forward.run(Float32Array.of(1, 3), 1);
  await forward.release();
  const { engineVersion, instructionSet } = engine.forwardProfile;
  const detail = `${engine.name} ${engineVersion}, ${instructionSet}, ran a small network`;
  return sum === 14
    ? { detail }
    : { detail: `${detail} and got ${String(sum)} where 14 was expected`, remedy: "install graft's dependencies again with npm install" };
}

/** Writes and reads a small picture of every format. */
export async function checkPictures(): Promise<Finding> {
  const decoder = new SharpImageDecoder();
  const grey = sharp({ create: { width: 16, height: 16, channels: 3, background: "#808080" } });
  const broken: string[] = [];
  for (const format of pictureFormats) {
    const decoded = await decoder.decode(await grey.clone().toFormat(format).toBuffer(), { size: 8, resize: "STRETCH", resizeTo: 8 });
    if (decoded.kind === "rejected" || Math.abs((decoded.pixels[0] ?? 0) - 128) > 4) broken.push(format);
  }
  const detail = `sharp ${sharp.versions.sharp ?? ""} reads ${pictureFormats.filter((format) => !broken.includes(format)).join(", ")}`;
  return broken.length === 0
    ? { detail }
    : { detail: `${detail}, but not ${broken.join(", ")}`, remedy: "install sharp again with npm install sharp" };
}

/** Writes into a folder of its own in the store, or where that would be made, and sees that an object is never overwritten. Leaves nothing behind. */
export async function checkStore(folder: string): Promise<Finding> {
  let existing = folder;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  const isThere = existing === folder;
  // A newer format shows at the first reading.
  if (isThere) await filesystemObjectStore(folder).stat("doctor");
  const probed = await mkdtemp(join(existing, ".graft-doctor-")).catch(async (error: unknown) => {
    throw await storeErrorFrom(error, isThere ? "write" : "be made", folder);
  });
  try {
    const store = filesystemObjectStore(probed);
    const key = `doctor/${randomUUID()}`;
    const outcomes = [await store.create(key, Uint8Array.of(1)), await store.create(key, Uint8Array.of(2))].join(", then ");
    const kept = (await store.read(key))?.[0];
    await store.delete(key);
    const { bavail, bsize } = await statfs(probed);
    const detail = `${folder}${isThere ? "" : " (made by the first job)"}, ${byteSize(bavail * bsize)} free`;
    if (outcomes !== "created, then exists" || kept !== 1)
      return { detail: `${detail}, but an object was written twice (${outcomes})`, remedy: "use a file system that has hard links" };
    if (bavail * bsize < FREE_BYTES_MIN)
      return { detail, remedy: `at least ${byteSize(FREE_BYTES_MIN)} should be free; make room or choose another folder with --store` };
    return { detail: `${detail}, writable, an object is never overwritten` };
  } finally {
    await rm(probed, { recursive: true, force: true });
  }
}

export async function checkBackbones(): Promise<Finding> {
  const names = (await listBundledBackbones()).map(({ name }) => name);
  for (const name of names) await readBundledBackbone(name);
  return names.length > 0
    ? { detail: `${names.join(", ")} are whole` }
    : { detail: "none comes with this installation", remedy: "install graft again, or add one with graft backbone add" };
}
