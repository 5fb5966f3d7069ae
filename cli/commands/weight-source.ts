import { createHash } from "node:crypto";
import { open, readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { CodedError } from "../../domain/errors.js";
import { systemError } from "../system-error.js";
import { canBeWeights, companionFiles } from "../../formats/backbone/weight-files.js";
import { decodePassport } from "../../formats/passport/passport.js";
import { download, fileNameOf, locationOf, tooLarge, weightsBudget, type WeightsBudget } from "./weight-download.js";

/** The files of one import, and what is known of them besides their bytes. */
export interface WeightSource {
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** True where every file was named by itself, so that each must be of use. */
  readonly everyFile: boolean;
  /** What the backbone is called where the user gives no name. */
  readonly name: string;
  readonly origin: string;
  readonly licence?: string;
}

/** Bytes that tell what a file is. */
const HEAD_BYTES = 64;
/** Labels of a stored backbone, which lie beside its other files. */
const LABELS_FILE = "labels.txt";

/**
 * Reads a file, a folder, a result of graft or a URL, with the files that belong to it; or several files or URLs that make one network together.
 * @param sha256 What the given file must have; checked before anything of it is looked at.
 * @throws CodedError USAGE_INVALID, FILE_FORMAT_INVALID, WEIGHTS_INVALID (another SHA-256)
 */
export async function readWeightSource(
  sources: readonly string[],
  sha256: string | undefined,
  progress: (text: string) => void,
): Promise<WeightSource> {
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
    throw new CodedError("USAGE_INVALID", `--sha256: expected 64 hex digits, found ${JSON.stringify(sha256.slice(0, 80))}`);
  const [source = "", ...more] = sources;
  if (more.length > 0) {
    if (sha256 !== undefined)
      throw new CodedError("USAGE_INVALID", `--sha256 is of one file, ${sources.length} were given; give one, or leave --sha256 out`);
    return fromSeveral(sources, progress);
  }
  if (isUrl(source)) return fromUrl(source, weightsBudget(), sha256, progress);
  if (!(await isFolder(source))) return fromFile(source, weightsBudget(), sha256);
  if (sha256 !== undefined) throw new CodedError("USAGE_INVALID", `--sha256 is of one file, ${source} is a folder; name the file in it`);
  return fromFolder(source);
}

async function fromSeveral(sources: readonly string[], progress: (text: string) => void): Promise<WeightSource> {
  const budget = weightsBudget();
  const files = new Map<string, Uint8Array>();
  // The shards of a LayersModel come with it, and may have been named as well.
  const seen = new Set<string>();
  for (const source of sources) {
    if (!isUrl(source) && (await isFolder(source)))
      throw new CodedError("USAGE_INVALID", `${source} is a folder; expected one folder alone, or several files`);
    const { files: read } = isUrl(source) ? await fromUrl(source, budget, undefined, progress) : await fromFile(source, budget, undefined);
    for (const [name, bytes] of read) {
      const place = isUrl(source) ? new URL(name, source).href : resolve(dirname(source), name);
      // Files of one name, out of several folders, go by their whole paths.
      if (!seen.has(place)) files.set(files.has(name) ? place : name, bytes);
      seen.add(place);
    }
  }
  const [first = ""] = sources;
  const folder = isUrl(first) ? dirname(urlOf(first).pathname) : dirname(resolve(first));
  return { files, everyFile: true, name: nameFrom(basename(folder)), origin: [...files.keys()].join(", ") };
}

async function fromFile(file: string, budget: WeightsBudget, sha256: string | undefined): Promise<WeightSource> {
  const main = await readWithin(file, budget);
  checkSha256(main, file, sha256);
  const files = new Map([[basename(file), main]]);
  for (const name of companions(main, file)) files.set(name, await readWithin(join(dirname(file), name), budget));
  const stem = basename(file, extname(file));
  const name = nameFrom(stem === "model" ? basename(dirname(resolve(file))) : stem);
  return { files, everyFile: true, name, origin: basename(file) };
}

async function fromFolder(folder: string): Promise<WeightSource> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((cause: unknown) => {
    throw new CodedError("USAGE_INVALID", `${folder}: cannot be read (${systemError(cause)}); check its permissions`, {}, cause);
  });
  const names = entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
  const budget = weightsBudget();
  const name = nameFrom(basename(resolve(folder)));
  if (names.includes("passport.json")) {
    const { backbone, weightsSha256 } = decodePassport(await readWithin(join(folder, "passport.json"), budget));
    const { files } = await fromFile(join(folder, "tfjs", "model.json"), budget, undefined);
    return {
      files,
      everyFile: true,
      name,
      origin: `trained with graft from ${backbone.name}, weights ${weightsSha256.slice(0, 12)}`,
      licence: backbone.licence,
    };
  }
  const files = new Map<string, Uint8Array>();
  for (const file of names.sort()) {
    const path = join(folder, file);
    if (file === LABELS_FILE || canBeWeights(await headOf(path))) files.set(file, await readWithin(path, budget));
  }
  for (const [file, bytes] of [...files]) {
    for (const companion of companions(bytes, join(folder, file)))
      if (!files.has(companion)) files.set(companion, await readWithin(join(folder, companion), budget));
  }
  if ([...files.keys()].every((file) => file === LABELS_FILE))
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${folder}: expected weights (a TensorFlow.js LayersModel, Keras .h5, ONNX, safetensors) or a result of graft train, found none of them`,
    );
  return { files, everyFile: false, name, origin: basename(resolve(folder)) };
}

async function fromUrl(
  source: string,
  budget: WeightsBudget,
  sha256: string | undefined,
  progress: (text: string) => void,
): Promise<WeightSource> {
  const url = urlOf(source);
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
  return { files, everyFile: true, name: nameFrom(stem === "model" ? basename(dirname(url.pathname)) : stem), origin: where };
}

function isUrl(source: string): boolean {
  return /^https?:\/\//i.test(source);
}

function urlOf(source: string): URL {
  if (URL.canParse(source)) return new URL(source);
  throw new CodedError("USAGE_INVALID", `${source}: expected a URL such as https://host/model.json; check the address`);
}

async function isFolder(source: string): Promise<boolean> {
  const found = await stat(source).catch((cause: unknown) => {
    throw new CodedError(
      "USAGE_INVALID",
      `${source}: expected a weights file, a folder of them or a URL, found ${systemError(cause) === "ENOENT" ? "nothing there" : systemError(cause)}`,
      {},
      cause,
    );
  });
  return found.isDirectory();
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

/** The first bytes of a file; none of what is no file, such as a folder or a pipe. */
async function headOf(file: string): Promise<Uint8Array> {
  try {
    if (!(await stat(file)).isFile()) return new Uint8Array();
    const handle = await open(file);
    try {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw unreadable(file, error);
  }
}

async function readWithin(file: string, budget: WeightsBudget): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > budget.left) throw tooLarge(file);
    budget.left -= size;
    return await readFile(file);
  } catch (error) {
    if (error instanceof CodedError) throw error;
    throw unreadable(file, error);
  }
}

function unreadable(file: string, cause: unknown): CodedError {
  return new CodedError(
    "FILE_FORMAT_INVALID",
    `${file}: expected a weights file, found ${systemError(cause) === "ENOENT" ? "nothing there" : systemError(cause)}`,
    {},
    cause,
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
