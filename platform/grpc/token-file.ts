import { readFileSync, statSync } from "node:fs";
import { CodedError } from "../../domain/errors.js";

/**
 * The token in a file, as it is there now: the kubelet exchanges the tokens of pods, and others may theirs. The file is looked at for each call, and read when it is another one.
 * Where it is gone or empty (not all who write files do so at once), the last token stands; whether that is still good, the server says.
 * @throws CodedError CONFIG_INVALID where there is no token at the start
 */
export function tokenFile(path: string): () => string {
  let version = "";
  let token = "";
  const look = (): void => {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    const found = [ino, size, mtimeNs].join(" ");
    if (found === version) return;
    token = readFileSync(path, "utf8").trim() || token;
    version = found;
  };
  try {
    look();
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError("CONFIG_INVALID", `token file ${path}: cannot be read (${found}); give a file that is there`, {}, cause);
  }
  if (token === "") throw new CodedError("CONFIG_INVALID", `token file ${path}: must hold a token, and is empty`);
  return () => {
    try {
      look();
    } catch {
      // The last token stands.
    }
    return token;
  };
}
