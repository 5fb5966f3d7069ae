import { CodedError } from "../../domain/errors.js";

/**
 * `labels.txt`: line i names class i, so that the label of output i can be read off. UTF-8, LF.
 * A class may be named after a folder with any name; backslash, line feed and carriage return are written as `\\`, `\n` and `\r`.
 */
export function encodeLabels(classes: readonly string[]): string {
  return classes.map((name) => `${name.replace(/[\\\n\r]/g, (character) => escapes[character] as string)}\n`).join("");
}

/** @throws CodedError FILE_FORMAT_INVALID where the last line is cut off or an escape is unknown. */
export function decodeLabels(text: string): string[] {
  if (text === "") return [];
  if (!text.endsWith("\n")) throw new CodedError("FILE_FORMAT_INVALID", "labels: the last line has no end; the file was cut off");
  return text
    .slice(0, -1)
    .split("\n")
    .map((line, index) =>
      line.replace(/\\(.?)/g, (escape) => {
        const plain = Object.keys(escapes).find((character) => escapes[character] === escape);
        if (plain === undefined)
          throw new CodedError("FILE_FORMAT_INVALID", `labels: line ${index + 1} holds the unknown escape ${escape}`);
        return plain;
      }),
    );
}

/**
 * Labels in a file that people wrote: as `decodeLabels`, but the last line needs no end, lines may end in CR LF, and a byte order mark may stand first.
 * @param where The file's name, for messages.
 * @throws CodedError FILE_FORMAT_INVALID naming a line without text, or an unknown escape.
 */
export function labelsOfFile(bytes: Uint8Array, where: string): string[] {
  // TextDecoder takes a byte order mark off, and trimming the CR of a line's end.
  const text = new TextDecoder().decode(bytes);
  const labels = decodeLabels(text === "" || text.endsWith("\n") ? text : `${text}\n`).map((label) => label.trim());
  const empty = labels.indexOf("");
  if (empty >= 0 || labels.length === 0)
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `${where}: expected one label a line, found ${labels.length === 0 ? "no line" : `nothing on line ${empty + 1}`}`,
    );
  return labels;
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };
