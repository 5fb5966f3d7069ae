import { CodedError } from "../../domain/errors.js";

/** Careful reading of untrusted JSON: each function names the place, what was expected and what was found. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function parseJson(bytes: Uint8Array | string, what: string): unknown {
  try {
    return JSON.parse(typeof bytes === "string" ? bytes : new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CodedError("FILE_FORMAT_INVALID", `${what} is no JSON in UTF-8`, {}, cause);
  }
}

export function asObject(value: unknown, place: string): JsonObject {
  return isObject(value) ? value : refuse(place, "an object", value);
}

export function asArray(value: unknown, place: string): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : refuse(place, "a list", value);
}

export function asString(value: unknown, place: string): string {
  return typeof value === "string" ? value : refuse(place, "a string", value);
}

export function asNumber(value: unknown, place: string): number {
  return typeof value === "number" && Number.isFinite(value) ? value : refuse(place, "a number", value);
}

/** A whole number of at least 0. */
export function asCount(value: unknown, place: string): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : refuse(place, "a whole number of at least 0", value);
}

export function asCounts(value: unknown, place: string): number[] {
  return asArray(value, place).map((count, index) => asCount(count, `${place}[${index}]`));
}

export function asBoolean(value: unknown, place: string): boolean {
  return typeof value === "boolean" ? value : refuse(place, "true or false", value);
}

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function refuse(place: string, expected: string, found: unknown): never {
  throw new CodedError("FILE_FORMAT_INVALID", `${place} must be ${expected}, found ${(JSON.stringify(found) ?? "nothing").slice(0, 100)}`);
}
