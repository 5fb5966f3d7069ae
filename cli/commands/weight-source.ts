import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { systemError } from "../system-error.js";
import { byteSize, printable } from "../../domain/job/figures.js";
import { companionFiles } from "../../formats/backbone/weight-files.js";
import { decodePassport } from "../../formats/passport/passport.js";

/** The files of one import, and what is known of them besides their bytes. */
export interface WeightSource {
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** What the backbone is called where the user gives no name. */
  readonly name: string;
  readonly origin: string;
  readonly licence?: string;
}

/** All weights of one import; the largest published image networks have 1.2 GB. */
const WEIGHTS_BYTES_MAX = 2_000_000_000;

/** Files of a folder that can belong to weights. */
const weightExtensions = [".json", ".bin", ".h5", ".hdf5", ".safetensors"];

/**
 * Reads a file, a folder, a result of graft or a URL, with the files that belong to it.
 * @param sha256 What the given file must have; checked before anything of it is looked at.
 * @throws CodedError USAGE_INVALID, FILE_FORMAT_INVALID, WEIGHTS_INVALID (another SHA-256)
 */
export async function readWeightSource(
  source: string,
  sha256: string | undefined,
  progress: (text: string) => void,
): Promise<WeightSource> {
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
    throw new CodedError("USAGE_INVALID", `--sha256: expected 64 hex digits, found ${JSON.stringify(sha256.slice(0, 80))}`);
  if (/^https?:\/\//i.test(source)) {
    if (URL.canParse(source)) return fromUrl(new URL(source), sha256, progress);
    throw new CodedError("USAGE_INVALID", `${source}: expected a URL such as https://host/model.json; check the address`);
  }
  const found = await stat(source).catch((cause: unknown) => {
    throw new CodedError(
      "USAGE_INVALID",
      `${source}: expected a weights file, a folder of them or a URL, found ${systemError(cause) === "ENOENT" ? "nothing there" : systemError(cause)}`,
      {},
      cause,
    );
  });
  if (!found.isDirectory()) return fromFile(source, sha256);
  if (sha256 !== undefined) throw new CodedError("USAGE_INVALID", `--sha256 is of one file, ${source} is a folder; name the file in it`);
  return fromFolder(source);
}

async function fromFile(file: string, sha256: string | undefined): Promise<WeightSource> {
  const budget = { left: WEIGHTS_BYTES_MAX };
  const main = await readWithin(file, budget);
  checkSha256(main, file, sha256);
  const files = new Map([[basename(file), main]]);
  for (const name of companions(main, file)) files.set(name, await readWithin(join(dirname(file), name), budget));
  const stem = basename(file, extname(file));
  return { files, name: nameFrom(stem === "model" ? basename(dirname(resolve(file))) : stem), origin: basename(file) };
}

async function fromFolder(folder: string): Promise<WeightSource> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new CodedError("USAGE_INVALID", `${folder}: cannot be read (${systemError(cause)}); check its permissions`, {}, cause);
  });
  const budget = { left: WEIGHTS_BYTES_MAX };
  const name = nameFrom(basename(resolve(folder)));
  if (names.includes("passport.json")) {
    const { backbone, weightsSha256 } = decodePassport(await readWithin(join(folder, "passport.json"), budget));
    const { files } = await fromFile(join(folder, "tfjs", "model.json"), undefined);
    return {
      files,
      name,
      origin: `trained with graft from ${backbone.name}, weights ${weightsSha256.slice(0, 12)}`,
      licence: backbone.licence,
    };
  }
  const files = new Map<string, Uint8Array>();
  for (const file of names.filter((each) => weightExtensions.includes(extname(each).toLowerCase()) || /shard\d+of\d+$/.test(each)).sort())
    files.set(file, await readWithin(join(folder, file), budget));
  if (files.size === 0)
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${folder}: expected weights (model.json with its shards, .h5, .safetensors) or a result of graft train, found none of them`,
    );
  return { files, name, origin: basename(resolve(folder)) };
}

async function fromUrl(url: URL, sha256: string | undefined, progress: (text: string) => void): Promise<WeightSource> {
  const budget = { left: WEIGHTS_BYTES_MAX };
  const main = await download(url, budget, progress);
  const where = locationOf(url);
  checkSha256(main, where, sha256);
  const file = fileNameOf(url) || "weights";
  const files = new Map([[file, main]]);
  for (const name of companions(main, where)) {
    const companion = new URL(url);
    companion.pathname = `${url.pathname.slice(0, url.pathname.lastIndexOf("/") + 1)}${name.split("/").map(encodeURIComponent).join("/")}`;
    files.set(name, await download(companion, budget, progress));
  }
  const stem = basename(file, extname(file));
  return { files, name: nameFrom(stem === "model" ? basename(dirname(url.pathname)) : stem), origin: where };
}

/** Files named by an untrusted model: only such as lie beside it. */
function companions(bytes: Uint8Array, where: string): string[] {
  const names = companionFiles(bytes);
  const outside = names.find(
    (name) => name.startsWith("/") || name.includes("\\") || name.split("/").some((part) => part === ".." || part === ""),
  );
  if (outside !== undefined)
    throw new CodedError("FILE_FORMAT_INVALID", `${where}: it names the weight file ${JSON.stringify(outside)}; expected files beside it`);
  return names;
}

function checkSha256(bytes: Uint8Array, where: string, expected: string | undefined): void {
  if (expected === undefined) return;
  const found = createHash("sha256").update(bytes).digest("hex");
  if (found !== expected.toLowerCase())
    throw new CodedError(
      "WEIGHTS_INVALID",
      `${where}: expected SHA-256 ${expected.toLowerCase()}, found ${found}; nothing was imported. Get the file again, or check the digest`,
      { expected, found },
    );
}

async function readWithin(file: string, budget: { left: number }): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > budget.left) throw tooLarge(file);
    budget.left -= size;
    return await readFile(file);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${file}: expected a weights file, found ${systemError(error) === "ENOENT" ? "nothing there" : systemError(error)}`,
      {},
      error,
    );
  }
}

async function download(url: URL, budget: { left: number }, progress: (text: string) => void): Promise<Uint8Array> {
  const where = locationOf(url);
  const response = await fetch(url).catch((cause: unknown) => {
    const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw new CodedError(
      "USAGE_INVALID",
      `${where}: cannot be reached (${reason}); check the address and the network, or download the file and give its path`,
      {},
      cause,
    );
  });
  if (!response.ok || response.body === null) {
    await response.body?.cancel();
    throw new CodedError(
      "USAGE_INVALID",
      `${where}: expected a weights file, the server answered ${response.status} ${response.statusText}; check the address`,
    );
  }
  const announced = Number(response.headers.get("content-length") ?? 0);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > budget.left || announced > budget.left) throw tooLarge(where);
      chunks.push(chunk);
      progress(`${printable(where)}: ${byteSize(bytes)}${announced > 0 ? ` of ${byteSize(announced)}` : ""}`);
    }
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw new CodedError(
      "USAGE_INVALID",
      `${where}: the connection broke after ${byteSize(bytes)}; try again, or download the file and give its path`,
      {},
      error,
    );
  }
  budget.left -= bytes;
  return Buffer.concat(chunks);
}

/** For messages and origins: without user, password and query, which may be secret. */
function locationOf({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

/** The last part of a URL's path; as it stands where its percent signs encode no text. */
function fileNameOf({ pathname }: URL): string {
  const name = pathname.slice(pathname.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function tooLarge(where: string): CodedError {
  return new CodedError(
    "FILE_FORMAT_INVALID",
    `${where}: expected weights of at most ${byteSize(WEIGHTS_BYTES_MAX)} in all, found more; is this the right file?`,
  );
}

/** A name that the importer takes; what it cannot have becomes "_". */
function nameFrom(text: string): string {
  const name = text
    .replace(/[^A-Za-z0-9._-]+/g, "_")
    .replace(/^[^A-Za-z0-9_]+/, "")
    .slice(0, 100);
  return name === "" ? "backbone" : name;
}
