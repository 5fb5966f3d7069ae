import { randomUUID } from "node:crypto";
import { constants, type Dirent } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { errorCodeOf, storeErrorFrom } from "./filesystem-error.js";
import { assertObjectKey, assertObjectPrefix } from "./object-key.js";
import type { ObjectStore } from "./object-store.js";
import { withFormatCheck } from "./store-format.js";

/** Files on their way to become objects. Keys never begin with a dot, so nothing in it is an object. */
const TEMPORARY_FOLDER = ".tmp";
/** A temporary file older than this was left by a process that died; a write takes seconds. */
const TEMPORARY_AGE_MS = 60 * 60 * 1000;

/**
 * Objects as files under `folder`, safe for several processes at the same time. Nothing is made on disk before the first write.
 *
 * A write goes to a temporary file that is synced and then linked (create) or renamed (put) to its name, and the folder is synced:
 * readers see the whole object or none, and of racing creators the kernel lets one through, since link() refuses a name that is taken.
 */
export function filesystemObjectStore(folder: string): ObjectStore {
  return withFormatCheck(new FilesystemObjectStore(resolve(folder)));
}

class FilesystemObjectStore implements ObjectStore {
  readonly location: string;
  readonly #temporary: string;
  /** Folders that are known to outlive a crash. Forgotten after any failed write: someone may have removed one. */
  readonly #durableFolders = new Set<string>();
  #swept = false;

  constructor(folder: string) {
    this.location = folder;
    this.#temporary = join(folder, TEMPORARY_FOLDER);
  }

  async create(key: string, body: Uint8Array): Promise<"created" | "exists"> {
    const path = this.#pathOf(key);
    return this.#guard(`write object ${key}`, async () => {
      // Saves writing a large body that is there already; the link below decides.
      const outcome = (await isFile(path)) ? "exists" : await this.#placeFile(body, path, (temporary) => linkIfFree(temporary, path));
      // The winner may have died between its link and its sync: whoever relies on the object makes its name durable.
      await syncFolder(dirname(path));
      return outcome;
    });
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    const path = this.#pathOf(key);
    await this.#guard(`write object ${key}`, async () => {
      await this.#placeFile(body, path, (temporary) => rename(temporary, path));
      await syncFolder(dirname(path));
    });
  }

  async read(key: string): Promise<Uint8Array | undefined> {
    const path = this.#pathOf(key);
    const body = await this.#guard(`read object ${key}`, () => unlessFree(readFile(path)));
    return body && new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  }

  async readRange(key: string, from: number, to: number): Promise<Uint8Array | undefined> {
    const path = this.#pathOf(key);
    return this.#guard(`read object ${key}`, async () => {
      const file = await unlessFree(open(path, constants.O_RDONLY));
      if (file === undefined) return undefined;
      try {
        const found = await file.stat();
        if (!found.isFile()) return undefined;
        const body = new Uint8Array(Math.max(0, Math.min(to, found.size) - from));
        let read = 0;
        while (read < body.length) {
          const { bytesRead } = await file.read(body, read, body.length - read, from + read);
          if (bytesRead === 0) break;
          read += bytesRead;
        }
        return body.subarray(0, read);
      } finally {
        await file.close();
      }
    });
  }

  async stat(key: string): Promise<{ readonly bytes: number; readonly modifiedMs: number } | undefined> {
    const path = this.#pathOf(key);
    const found = await this.#guard(`read object ${key}`, () => unlessFree(stat(path)));
    return found?.isFile() === true ? { bytes: found.size, modifiedMs: found.mtimeMs } : undefined;
  }

  list(prefix: string): AsyncIterable<string> {
    assertObjectPrefix(prefix);
    const slash = prefix.lastIndexOf("/") + 1;
    return this.#walk(prefix.slice(0, slash), prefix.slice(slash));
  }

  async delete(key: string): Promise<void> {
    const path = this.#pathOf(key);
    await this.#guard(`delete object ${key}`, () => unlessFree(unlink(path)));
  }

  #pathOf(key: string): string {
    assertObjectKey(key);
    return join(this.location, key);
  }

  async #guard<T>(what: string, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      throw await storeErrorFrom(error, what, this.location);
    }
  }

  /** Writes `body` durably to a temporary file and lets `place` give it its name. */
  async #placeFile<T>(body: Uint8Array, path: string, place: (temporary: string) => Promise<T>): Promise<T> {
    await this.#makeFolder(dirname(path));
    await this.#makeFolder(this.#temporary);
    const temporary = join(this.#temporary, randomUUID());
    try {
      const file = await open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL);
      try {
        await file.writeFile(body);
        await file.sync();
        if (!this.#swept) await this.#sweep(file);
      } finally {
        await file.close();
      }
      return await place(temporary);
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      this.#durableFolders.clear();
      throw error;
    }
  }

  /** Makes a folder whose name and whose parents' names are durable, whoever made them. */
  async #makeFolder(folder: string): Promise<void> {
    if (this.#durableFolders.has(folder)) return;
    const first = await mkdir(folder, { recursive: true });
    const top = first !== undefined && first.length <= this.location.length ? dirname(first) : this.location;
    // What lies above the store and stood before is not ours to sync.
    for (let made = folder; made.length > top.length && !this.#durableFolders.has(made); made = dirname(made)) {
      await syncFolder(dirname(made));
      this.#durableFolders.add(made);
    }
  }

  /** Removes what dead processes left. `now` is when `fresh` was written, on the file system's own clock (a server's may differ from ours). */
  async #sweep(fresh: FileHandle): Promise<void> {
    this.#swept = true;
    const now = (await fresh.stat()).mtimeMs;
    for (const name of await readdir(this.#temporary)) {
      const path = join(this.#temporary, name);
      const found = await unlessFree(stat(path));
      if (found !== undefined && now - found.mtimeMs > TEMPORARY_AGE_MS) await unlessFree(unlink(path));
    }
  }

  /** Keys under `folder` (empty or ending in a slash) whose next segment begins with `start`. Holds the names of one folder a level. */
  async *#walk(folder: string, start: string): AsyncGenerator<string> {
    const entries = await this.#guard(`list objects under ${folder}`, () =>
      unlessFree(readdir(join(this.location, folder), { withFileTypes: true })),
    );
    // A folder's keys all go on with a slash, and so it is sorted: `a-b` < `a/x` < `a0`.
    const names = (entries ?? []).filter((entry) => !entry.name.startsWith(".") && entry.name.startsWith(start)).map(sortName);
    names.sort((a, b) => (a < b ? -1 : 1));
    for (const name of names) {
      if (name.endsWith("/")) yield* this.#walk(folder + name, "");
      else yield folder + name;
    }
  }
}

function sortName(entry: Dirent): string {
  return entry.isDirectory() ? `${entry.name}/` : entry.name;
}

/** A missing file, a path through a file and a folder are all a free key. */
async function unlessFree<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(errorCodeOf(error) ?? "")) return undefined;
    throw error;
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await unlessFree(stat(path)))?.isFile() === true;
}

async function linkIfFree(temporary: string, path: string): Promise<"created" | "exists"> {
  try {
    await link(temporary, path);
  } catch (error) {
    // A folder under this name is no object: "exists" would send the caller to read what is not there.
    if (errorCodeOf(error) !== "EEXIST" || (await unlessFree(stat(path)))?.isDirectory() === true) throw error;
    await unlink(temporary);
    return "exists";
  }
  await unlink(temporary);
  return "created";
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return; // refuses it; NTFS logs changes of names by itself
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
