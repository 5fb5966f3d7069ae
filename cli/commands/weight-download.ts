import { CodedError } from "../../domain/errors.js";
import { byteSize, printable } from "../../domain/job/figures.js";

/** All weights of one import; the largest published image networks have 1.2 GB. */
const WEIGHTS_BYTES_MAX = 2_000_000_000;

/** What may still be read of one import. */
export interface WeightsBudget {
  left: number;
}

export function weightsBudget(): WeightsBudget {
  return { left: WEIGHTS_BYTES_MAX };
}

/** Gets a file by HTTP. @throws CodedError USAGE_INVALID where it cannot be got, FILE_FORMAT_INVALID where it is too large. */
export async function download(url: URL, budget: WeightsBudget, progress: (text: string) => void): Promise<Uint8Array> {
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
export function locationOf({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

/** The last part of a URL's path; as it stands where its percent signs encode no text. */
export function fileNameOf({ pathname }: URL): string {
  const name = pathname.slice(pathname.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

export function tooLarge(where: string): CodedError {
  return new CodedError(
    "FILE_FORMAT_INVALID",
    `${where}: expected weights of at most ${byteSize(WEIGHTS_BYTES_MAX)} in all, found more; is this the right file?`,
  );
}
