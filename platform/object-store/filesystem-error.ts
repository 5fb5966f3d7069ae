import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { CodedError } from "../../domain/errors.js";

/** What to do about an error of the operating system, by its code. */
const remedies: Readonly<Record<string, string>> = {
  EACCES: "give this user read and write permission on the folder, or choose another store",
  EPERM: "the file system refuses it: give this user permission, or choose a folder on a file system with hard links",
  EROFS: "the file system is mounted read-only; mount it writable, or choose another store",
  ENOTSUP: "the file system has no hard links; choose a folder on another one",
  EXDEV: "part of the store lies on another file system; keep the whole store on one",
  ENOTDIR: "a file stands where a folder is needed; choose another store",
  EEXIST: "a file stands where a folder is needed, or a folder where an object is needed; choose another store",
  EISDIR: "a folder stands where an object is needed; choose another store",
  EMFILE: "too many files are open; raise `ulimit -n` and run again",
  ENFILE: "too many files are open on this machine; close some and run again",
  ENOENT: "a folder vanished while graft wrote to it; run again",
  EIO: "the disk reports an I/O error; check it, then run again",
  ENAMETOOLONG: "the path is too long; choose a store with a shorter path",
};

export function errorCodeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The coded error for what the operating system said while graft tried to do `what` in the store at `folder`; errors of other kinds come back as they are. */
export async function storeErrorFrom(error: unknown, what: string, folder: string): Promise<unknown> {
  const code = errorCodeOf(error);
  if (error instanceof CodedError || code === undefined || code.startsWith("ERR_")) return error;
  if (code === "ENOSPC" || code === "EDQUOT") {
    const freeBytes = await freeBytesAt(folder);
    const free = freeBytes === undefined ? "" : ` (${freeBytes} bytes free)`;
    const cause = code === "EDQUOT" ? "this user's disk quota is used up" : "the disk is full";
    return new CodedError(
      "STORE_FULL",
      `store ${folder}: cannot ${what}: ${cause}${free}; free some space and run again, nothing that was stored is lost`,
      { folder, freeBytes },
      error,
    );
  }
  const remedy = remedies[code] ?? "see the cause, then run again";
  return new CodedError("STORE_UNAVAILABLE", `store ${folder}: cannot ${what}: ${code}; ${remedy}`, { folder, systemCode: code }, error);
}

/** Free bytes for this user where `folder` lies or would lie. */
async function freeBytesAt(folder: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return dirname(folder) === folder ? undefined : freeBytesAt(dirname(folder));
  }
}
