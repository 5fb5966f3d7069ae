import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  parseAllDocuments,
  type Document,
  type Node,
} from "yaml";
import { specInvalid, type Problem } from "../../domain/job/problems.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { limits } from "../../domain/limits.js";
import { GraftJobSchema, type ObjectMetaJson } from "../../proto/gen/graft/v1/job_pb.js";
import { isObject, type JsonObject } from "../json/json.js";
import { checkMessage, type LocatedProblem, type Path } from "./check-message.js";

const API_VERSION = "graft.dev/v1alpha1";
export const KIND = "GraftJob";

/** A GraftJob whose shape is right: every field known and of its type. Whether its values make sense is `resolveJob`'s to say. */
export interface JobFile {
  readonly metadata: ObjectMetaJson;
  readonly spec: JobSpec;
}

/**
 * Reads a job file: one YAML document (JSON is YAML too).
 * `fileName` is for messages only.
 * @throws CodedError SPEC_INVALID with every problem: path, line, what was expected and found.
 */
export function parseJobFile(text: string, fileName: string): JobFile {
  const bytes = Buffer.byteLength(text);
  if (bytes > limits.jobFileBytes) {
    throw specInvalid(fileName, [
      { path: "", message: `a job file may have ${limits.jobFileBytes} bytes, found ${bytes}; is this really a job file?` },
    ]);
  }
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    stringKeys: true,
    version: "1.2",
  });
  const document = documents[0];
  if (document === undefined || ("empty" in documents && documents.empty) || document.contents === null) {
    throw specInvalid(fileName, [
      { path: "", message: `the file is empty; expected apiVersion: ${API_VERSION}, kind: ${KIND}, metadata and spec` },
    ]);
  }
  const syntax = documents.flatMap((each) => [...each.errors, ...each.warnings]);
  if (syntax.length > 0) {
    throw listed(
      fileName,
      syntax.map((error) => ({ path: "", message: sentence(error.code, error.message), line: lines.linePos(error.pos[0]).line })),
    );
  }
  if (documents.length > 1) {
    throw specInvalid(fileName, [{ path: "", message: `one job a file; found ${documents.length} documents, separated by ---` }]);
  }
  const { value, error } = plainValue(document);
  if (error !== undefined) throw specInvalid(fileName, [{ path: "", message: error }]);
  return check(value, fileName, (at) => lineOf(document, lines, at));
}

/** The same check for a JSON value: a request, a Kubernetes object. `subject` is for messages only. @throws CodedError SPEC_INVALID with every problem. */
export function checkJobObject(value: unknown, subject: string): JobFile {
  return check(value, subject, () => undefined);
}

function check(value: unknown, subject: string, lineAt: (path: Path) => number | undefined): JobFile {
  const problems: LocatedProblem[] = [];
  // The status of a job that was read back from a server means nothing here, and is of that server's version.
  const given = isObject(value) ? Object.fromEntries(Object.entries(value).filter(([name]) => name !== "status")) : value;
  const job = checkMessage(GraftJobSchema, given, [], problems);
  if (isObject(value)) {
    expectText(job["apiVersion"], API_VERSION, "apiVersion", value, problems);
    expectText(job["kind"], KIND, "kind", value, problems);
    if (!Object.hasOwn(value, "spec"))
      problems.push({ at: [], path: "spec", message: "is missing; a job needs at least spec.dataset.source" });
  }
  if (problems.length > 0) {
    throw listed(
      subject,
      problems.map(({ at, path, message }) => {
        const line = lineAt(at);
        return { path, message, ...(line === undefined ? {} : { line }) };
      }),
    );
  }
  return { metadata: job["metadata"] ?? {}, spec: job["spec"] as JobSpec };
}

function expectText(found: unknown, expected: string, field: string, value: JsonObject, problems: LocatedProblem[]): void {
  if (!Object.hasOwn(value, field)) problems.push({ at: [], path: field, message: `is missing; write ${field}: ${expected}` });
  else if (typeof found === "string" && found !== expected)
    problems.push({ at: [field], path: field, message: `must be ${expected}, found ${JSON.stringify(found)}` });
}

/** In the order of the file, and a bounded number of them. */
function listed(subject: string, problems: readonly Problem[]): Error {
  const sorted = [...problems].sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  const rest = sorted.length - limits.problemsListed;
  return specInvalid(subject, rest > 0 ? [...sorted.slice(0, limits.problemsListed), { path: "", message: `and ${rest} more` }] : sorted);
}

function plainValue(document: Document): { readonly value?: unknown; readonly error?: string } {
  try {
    return { value: document.toJS({ maxAliasCount: limits.jobFileAliases }) as unknown };
  } catch (cause) {
    // The only error here: an alias without anchor, or more expansion than allowed.
    return { error: cause instanceof Error ? `YAML aliases: ${cause.message}` : String(cause) };
  }
}

function sentence(code: string, message: string): string {
  if (code === "DUPLICATE_KEY") return "a field is given twice; keep one of them";
  return `no valid YAML: ${message}`;
}

/** Line of a field's name where it stands in the file, else of the nearest field around it. */
function lineOf(document: Document, lines: LineCounter, path: Path): number | undefined {
  let node: unknown = document.contents;
  let offset = isNode(node) ? node.range?.[0] : undefined;
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) break;
    let place: Node | undefined;
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part));
      place = isNode(pair?.key) ? pair.key : undefined;
      node = pair?.value;
    } else if (isSeq(node) && typeof part === "number") {
      node = node.items[part];
      place = isNode(node) ? node : undefined;
    } else break;
    offset = place?.range?.[0] ?? offset;
  }
  return offset === undefined ? undefined : lines.linePos(offset).line;
}
