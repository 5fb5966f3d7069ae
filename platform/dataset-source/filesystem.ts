import { type BigIntStats, type Dirent } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { manifestFormat } from "../../formats/manifest/manifest.js";
import type { DatasetSource, ListedFile, OpenedDataset } from "./dataset-source.js";

/** Calls of `stat` in flight; more than libuv's threads gain nothing, fewer leave them idle. */
const STATS_IN_FLIGHT = 64;

/** A folder that is reached through links this often is a knot of links, not a dataset. */
const LINK_VISITS_MAX = 32;

/** A manifest; its text must fit in one string. */
const MANIFEST_BYTES_MAX = 512 * 1024 * 1024;

/**
 * Opens a folder, or a manifest (`.csv`, `.jsonl`) with the folder that it lies in.
 * @throws CodedError DATASET_NOT_FOUND, DATASET_UNREADABLE, DATASET_INVALID (a file that is no manifest).
 */
export async function openFilesystemDataset(location: string): Promise<OpenedDataset> {
  const path = resolve(location);
  const found = await stat(path).catch((error: unknown) => {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") throw unreadable(path, error);
    throw new CodedError(
      "DATASET_NOT_FOUND",
      `${path}: expected a folder of pictures or a manifest (.csv, .jsonl), found nothing there; check dataset.source`,
    );
  });
  if (found.isDirectory()) return { source: new FilesystemDatasetSource(path), manifest: undefined };
  if (!found.isFile() || manifestFormat(path) === undefined) {
    throw new CodedError(
      "DATASET_INVALID",
      `${path}: expected a folder of pictures or a manifest (.csv, .jsonl), found another file; check dataset.source`,
    );
  }
  if (found.size > MANIFEST_BYTES_MAX)
    throw new CodedError(
      "DATASET_INVALID",
      `${path}: expected a manifest of at most ${MANIFEST_BYTES_MAX} bytes, found ${found.size}; use folders or split it`,
    );
  const bytes = await readWhole(path);
  return { source: new FilesystemDatasetSource(dirname(path)), manifest: { name: basename(path), bytes } };
}

/**
 * Pictures in a folder. Symbolic links are followed; a link to a folder that it lies in is passed over, since all behind it is listed anyway.
 * Sockets, devices and the like are no files. Empty folders are listed as `NAME/`, as object stores do, so that an empty class is noticed.
 */
export class FilesystemDatasetSource implements DatasetSource {
  readonly location: string;

  constructor(folder: string) {
    this.location = resolve(folder);
  }

  async *list(): AsyncGenerator<ListedFile, void, undefined> {
    const linkVisits = new Map<string, number>();
    const root = await this.#openFolder("", new Set(), undefined);
    // Iterative: one frame for each open level, so that depth costs no call stack.
    const frames = root === undefined ? [] : [root];
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const entry = frame.entries[frame.next];
      if (entry === undefined) {
        frames.pop();
      } else if (entry.endsWith("/")) {
        frame.next++;
        const child = await this.#openFolder(frame.path + entry, frame.ancestors, frame.links.has(entry) ? linkVisits : undefined);
        if (child === undefined) continue;
        if (child.entries.length === 0) yield { path: child.path, bytes: 0, state: "" };
        frames.push(child);
      } else {
        const names = filesFrom(frame);
        frame.next += names.length;
        const { path: folder } = frame;
        const stats = await Promise.all(names.map((name) => this.#stat(folder + name)));
        for (const [index, found] of stats.entries()) {
          yield { path: folder + (names[index] as string), bytes: Number(found.size), state: stateOf(found) };
        }
      }
    }
  }

  async read({ path, bytes, state }: ListedFile): Promise<Uint8Array> {
    const full = join(this.location, path);
    if (bytes > limits.imageBytes)
      throw new CodedError("DATASET_INVALID", `${full}: expected a file of at most ${limits.imageBytes} bytes, found ${bytes}`);
    let content: Buffer;
    let after: BigIntStats;
    try {
      const file = await open(full, "r");
      try {
        // One byte more than listed, so that growth is seen without reading it all.
        const buffer = Buffer.allocUnsafeSlow(bytes + 1);
        let length = 0;
        while (length < buffer.length) {
          const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
          if (bytesRead === 0) break;
          length += bytesRead;
        }
        content = buffer.subarray(0, length);
        after = await file.stat({ bigint: true });
      } finally {
        await file.close();
      }
    } catch (error) {
      throw codeOf(error) === "ENOENT" ? changed(full, "found it gone") : unreadable(full, error);
    }
    if (content.length !== bytes || stateOf(after) !== state)
      throw changed(full, `found ${after.size} bytes where ${bytes} were listed, or a newer time of change`);
    return content;
  }

  async #stat(path: string): Promise<BigIntStats> {
    const full = join(this.location, path);
    try {
      return await stat(full, { bigint: true });
    } catch (error) {
      if (codeOf(error) === "ENOENT" && path.includes("\ufffd")) throw unreadable(full, error, "its name may not be UTF-8; rename it");
      throw codeOf(error) === "ENOENT"
        ? changed(full, "found it gone, or a link to nothing (then remove the link)")
        : unreadable(full, error);
    }
  }

  /** Sorted names of one folder; undefined for a link that leads back to a folder that it lies in. */
  async #openFolder(path: string, ancestors: ReadonlySet<string>, linkVisits: Map<string, number> | undefined): Promise<Frame | undefined> {
    const full = join(this.location, path);
    const { dev, ino } = await this.#stat(path);
    const identity = `${dev}:${ino}`;
    if (ancestors.has(identity)) return undefined;
    const visits = (linkVisits?.get(identity) ?? 0) + 1;
    linkVisits?.set(identity, visits);
    if (visits > LINK_VISITS_MAX)
      throw new CodedError(
        "DATASET_INVALID",
        `${full}: expected a folder that links lead to at most ${LINK_VISITS_MAX} times, found more; remove the knot of links`,
      );
    let found: Dirent[];
    try {
      found = await readdir(full, { withFileTypes: true });
    } catch (error) {
      throw codeOf(error) === "ENOENT" ? changed(full, "found it gone") : unreadable(full, error);
    }
    const entries: string[] = [];
    const links = new Set<string>();
    for (const entry of found) {
      if (entry.isFile()) entries.push(entry.name);
      else if (entry.isDirectory()) entries.push(`${entry.name}/`);
      else if (entry.isSymbolicLink()) {
        const target = await this.#stat(path + entry.name);
        if (target.isFile()) entries.push(entry.name);
        else if (target.isDirectory()) {
          entries.push(`${entry.name}/`);
          links.add(`${entry.name}/`);
        }
      }
    }
    entries.sort(compareUtf8); // folders with their slash: the order of whole paths
    return { path, entries, links, next: 0, ancestors: new Set([...ancestors, identity]) };
  }
}

/** One open folder of the walk. */
interface Frame {
  /** Relative to the source, with a slash at its end; "" for the source itself. */
  readonly path: string;
  /** Names; those of folders end in a slash. */
  readonly entries: readonly string[];
  /** Those entries that are links to folders. */
  readonly links: ReadonlySet<string>;
  /** The first entry that has not been listed. */
  next: number;
  /** Devices and inodes of this folder and those above it. */
  readonly ancestors: ReadonlySet<string>;
}

/** The next files of a folder, up to its next sub-folder. */
function filesFrom({ entries, next }: Frame): string[] {
  const names: string[] = [];
  for (let at = next; at < entries.length && names.length < STATS_IN_FLIGHT; at++) {
    const name = entries[at] as string;
    if (name.endsWith("/")) break;
    names.push(name);
  }
  return names;
}

function stateOf({ size, mtimeNs, ctimeNs, ino }: BigIntStats): string {
  return `${size}-${mtimeNs}-${ctimeNs}-${ino}`;
}

async function readWhole(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable(path, error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

function unreadable(path: string, error: unknown, remedy?: string): CodedError {
  const code = codeOf(error);
  const why =
    code === "EACCES" || code === "EPERM"
      ? "no permission"
      : code === "ELOOP"
        ? "links that lead in a circle"
        : error instanceof Error
          ? error.message
          : String(error);
  return new CodedError(
    "DATASET_UNREADABLE",
    `${path}: expected to read it, found ${why}; ${remedy ?? "make it readable for this user or leave it out of the dataset"}`,
    { path, code },
    error,
  );
}

function changed(path: string, found: string): CodedError {
  return new CodedError(
    "DATASET_CHANGED",
    `${path}: expected the file as it was listed, ${found}; run the job again once the dataset is at rest`,
    { path },
  );
}
