import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { nearest, type Problem } from "../../domain/job/problems.js";
import { isObject } from "../json/json.js";

/** Where in the value a problem lies: field names, list positions and map keys. */
export type Path = readonly (string | number)[];

/** A problem whose place in the file is still to be found. */
export type LocatedProblem = Problem & { readonly at: Path };

/**
 * Checks a JSON-like value against a proto message, stricter than proto's own JSON reader: no numbers in quotes, no numbers for enums, no null, field names as in the
 * documentation only. Returns a plain copy; what is wrong is added to `problems`, all of it, and left out of the copy.
 */
export function checkMessage(message: DescMessage, value: unknown, path: Path, problems: LocatedProblem[]): Record<string, unknown> {
  if (!isObject(value)) {
    report(problems, path, `must be a group of fields (${fieldNames(message).join(", ")}), found ${show(value)}`);
    return {};
  }
  const entries: [string, unknown][] = [];
  for (const [name, inner] of Object.entries(value)) {
    const field = message.fields.find((candidate) => candidate.jsonName === name);
    if (field === undefined) {
      report(problems, [...path, name], unknownField(message, name));
      continue;
    }
    if (inner === null || inner === undefined) {
      report(
        problems,
        [...path, name],
        `has no value; give it one${field.fieldKind === "message" ? " ({} for all defaults)" : ""} or leave the field out`,
      );
      continue;
    }
    const checked = checkField(field, inner, [...path, name], problems);
    if (checked !== undefined) entries.push([name, checked]);
  }
  for (const oneof of message.oneofs) {
    const given = oneof.fields.map((field) => field.jsonName).filter((name) => Object.hasOwn(value, name));
    if (given.length > 1) report(problems, path, `${given.join(" and ")} exclude each other; keep one of them`);
  }
  return Object.fromEntries(entries);
}

/** The checked copy of a field's value, undefined where it is wrong as a whole. */
function checkField(field: DescField, value: unknown, path: Path, problems: LocatedProblem[]): unknown {
  switch (field.fieldKind) {
    case "scalar":
      return checkScalar(field.scalar, value, path, problems);
    case "enum":
      return checkEnum(field.enum, value, path, problems);
    case "message":
      return checkSingleMessage(field.message, value, path, problems);
    case "list":
      if (!Array.isArray(value)) {
        report(problems, path, `must be a list, found ${show(value)}`);
        return undefined;
      }
      return value.map((element: unknown, index) => checkElement(field, element, [...path, index], problems));
    case "map":
      if (!isObject(value)) {
        report(problems, path, `must be a group of names with values, found ${show(value)}`);
        return undefined;
      }
      return Object.fromEntries(
        Object.entries(value).map(([key, element]) => [key, checkElement(field, element, [...path, key], problems)]),
      );
  }
}

function checkElement(field: DescField & { fieldKind: "list" | "map" }, value: unknown, path: Path, problems: LocatedProblem[]): unknown {
  const kind = field.fieldKind === "list" ? field.listKind : field.mapKind;
  if (kind === "scalar") return checkScalar(field.scalar as ScalarType, value, path, problems);
  if (kind === "enum") return checkEnum(field.enum as DescEnum, value, path, problems);
  return checkSingleMessage(field.message as DescMessage, value, path, problems);
}

function checkSingleMessage(message: DescMessage, value: unknown, path: Path, problems: LocatedProblem[]): unknown {
  if (message.typeName === "google.protobuf.Struct" && isObject(value)) return value;
  if (message.typeName !== "google.protobuf.Timestamp") return checkMessage(message, value, path, problems);
  if (typeof value === "string" && !Number.isNaN(Date.parse(value))) return value;
  report(problems, path, `must be a time as in "2026-01-31T12:00:00Z", found ${show(value)}`);
  return undefined;
}

function checkScalar(type: ScalarType, value: unknown, path: Path, problems: LocatedProblem[]): unknown {
  switch (type) {
    case ScalarType.STRING:
      if (typeof value === "string") return value;
      report(problems, path, `must be text, found ${show(value)}${isObject(value) || Array.isArray(value) ? "" : "; put it in quotes"}`);
      return undefined;
    case ScalarType.BOOL:
      if (typeof value === "boolean") return value;
      report(problems, path, `must be true or false, found ${show(value)}`);
      return undefined;
    case ScalarType.INT32:
      if (typeof value === "number" && Number.isInteger(value) && value >= -0x8000_0000 && value <= 0x7fff_ffff) return value;
      report(problems, path, `must be a whole number between -2147483648 and 2147483647, found ${show(value)}${unquote(value)}`);
      return undefined;
    case ScalarType.DOUBLE:
      if (typeof value === "number" && Number.isFinite(value)) return value;
      report(problems, path, `must be a ${typeof value === "number" ? "finite " : ""}number, found ${show(value)}${unquote(value)}`);
      return undefined;
    default:
      throw new Error(`job.proto uses the scalar type ${ScalarType[type]}, which a job file cannot hold`);
  }
}

function checkEnum(type: DescEnum, value: unknown, path: Path, problems: LocatedProblem[]): unknown {
  const names = type.values.map((candidate) => candidate.name);
  if (typeof value === "string" && names.includes(value)) return value;
  const hint = typeof value === "string" ? didYouMean(value, names) : "";
  report(problems, path, `must be ${names.length === 1 ? "" : "one of "}${names.join(", ")}; found ${show(value)}${hint}`);
  return undefined;
}

function unknownField(message: DescMessage, name: string): string {
  const names = fieldNames(message);
  if (names.length === 0) return "unknown field; nothing can be set here, write {}";
  return `unknown field${didYouMean(name, names) || `; known here: ${names.join(", ")}`}`;
}

function didYouMean(text: string, candidates: readonly string[]): string {
  const candidate = nearest(text, candidates);
  return candidate === undefined ? "" : `; did you mean ${candidate}?`;
}

function fieldNames(message: DescMessage): string[] {
  return message.fields.map((field) => field.jsonName);
}

function unquote(value: unknown): string {
  return typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)) ? "; leave out the quotes" : "";
}

/** A value for a message: short, on one line. */
function show(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a group of fields";
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…"` : text;
}

function report(problems: LocatedProblem[], at: Path, message: string): void {
  problems.push({ at, path: pathText(at), message });
}

/** `spec.head.layers[0].dense.units`, `labels["a.b/c"]` */
function pathText(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) return `[${JSON.stringify(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join("");
}
