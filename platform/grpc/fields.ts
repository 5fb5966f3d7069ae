import { CodedError } from "../../domain/errors.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { isSha256Hex } from "../../domain/features/sha256.js";

/**
 * Checks fields that the other side must have set: proto's own types let every field be absent.
 * `code` says whose mistake it is: REQUEST_INVALID on the server, CONTRACT_MISMATCH on the client.
 */
export class FieldReader {
  readonly #message: string;
  readonly #code: "REQUEST_INVALID" | "CONTRACT_MISMATCH";

  constructor(message: string, code: "REQUEST_INVALID" | "CONTRACT_MISMATCH") {
    this.#message = message;
    this.#code = code;
  }

  /** A message, or any other value that may not be absent. */
  present<T>(name: string, value: T | undefined): T {
    return value ?? this.fail(name, "must be there, and is absent");
  }

  text(name: string, value: string | undefined): string {
    return value === undefined || value === "" ? this.fail(name, "must be there, and is absent or empty") : value;
  }

  /** A whole number from 0 up. */
  count(name: string, value: number | bigint | undefined): number {
    const number = Number(this.present(name, value));
    return Number.isSafeInteger(number) && number >= 0 ? number : this.fail(name, `must be a whole number from 0, found ${number}`);
  }

  sha256(name: string, value: string | undefined): string {
    const text = this.text(name, value);
    const fits: boolean = isSha256Hex(text);
    return fits ? text : this.fail(name, `must be 64 lower-case hex digits, found ${JSON.stringify(text.slice(0, 70))}`);
  }

  /** Image ids, 32 bytes each: `rows` of them, or any number. */
  imageIds(name: string, value: Uint8Array | undefined, rows?: number): Uint8Array {
    const bytes = this.present(name, value);
    if (rows === undefined ? bytes.length % IMAGE_ID_BYTES === 0 : bytes.length === rows * IMAGE_ID_BYTES) return bytes;
    return this.fail(
      name,
      `must have ${IMAGE_ID_BYTES} bytes for each ${rows === undefined ? "image id" : `of ${rows} image ids`}, found ${bytes.length} bytes`,
    );
  }

  fail(name: string, problem: string): never {
    throw new CodedError(this.#code, `${this.#message}: ${name} ${problem}`);
  }
}
