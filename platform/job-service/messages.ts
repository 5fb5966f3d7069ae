import { fromJson, toJson, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { specInvalid } from "../../domain/job/problems.js";
import type { JobResource, JobResultSummary, ResourcePhase } from "../../domain/job/resource.js";
import { limits } from "../../domain/limits.js";
import { checkJobObject, KIND } from "../../formats/job-file/job-file.js";
import { isObject } from "../../formats/json/json.js";
import {
  GraftJobSchema,
  JobStatus_Phase,
  ResultSummarySchema,
  type GraftJob,
  type ResultSummary,
} from "../../proto/gen/graft/v1/job_pb.js";
import type {
  GetResultResponse,
  GetResultResponseSchema,
  JobEvent,
  JobEventSchema,
  JobReference as JobReferenceMessage,
} from "../../proto/gen/graft/v1/job_service_pb.js";
import type { FieldReader } from "../grpc/fields.js";
import type { JobReference, JobRequest, JobResult, Page, RecordedEvent } from "./job-service.js";

/** The port's values as messages of proto/graft/v1/job_service.proto and back. A JobResource is proto's own JSON mapping of GraftJob. */

const API_VERSION = "graft.dev/v1alpha1";

export function writeResource(resource: JobResource): GraftJob {
  return fromJson(GraftJobSchema, resource as unknown as JsonValue);
}

export function readResource(fields: FieldReader, job: GraftJob | undefined): JobResource {
  const message = fields.present("job", job);
  fields.present("job.metadata", message.metadata);
  fields.present("job.spec", message.spec);
  fields.present("job.status.phase", message.status?.phase);
  return { apiVersion: API_VERSION, kind: KIND, ...toJson(GraftJobSchema, message) } as JobResource;
}

export function writeRequest({ metadata, spec }: JobRequest): GraftJob {
  return fromJson(GraftJobSchema, { apiVersion: API_VERSION, kind: KIND, metadata, spec } as unknown as JsonValue);
}

/** A job that somebody wants; the message's type says version and kind where the fields do not. @throws CodedError SPEC_INVALID with every problem of its shape */
export function readRequest(job: GraftJob | undefined): JobRequest {
  if (job === undefined) throw specInvalid("job", [{ path: "", message: "is missing; a job needs at least spec.dataset.source" }]);
  const unknown = unknownFields(job, []);
  if (unknown.length > 0) {
    const message =
      "holds a field that this server does not know; it may be older than the client: run the same version of graft on both sides";
    throw specInvalid(
      "job",
      unknown.map((path) => ({ path, message })),
    );
  }
  const { status: _, ...given } = job;
  const json = toJson(GraftJobSchema, given);
  const value = isObject(json) ? { apiVersion: API_VERSION, kind: KIND, ...json } : json;
  return checkJobObject(value, "job");
}

/** Paths of messages with fields of a newer contract: to leave them out in silence would run another job than was asked for. */
function unknownFields(value: unknown, path: readonly string[]): string[] {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return [];
  if (Array.isArray(value)) return value.flatMap((element: unknown, index) => unknownFields(element, [...path, String(index)]));
  return Object.entries(value).flatMap(([name, inner]) => {
    if (name === "status" && path.length === 0) return [];
    return name === "$unknown" ? [path.join(".")] : unknownFields(inner, name === "value" ? path : [...path, name]);
  });
}

export function writeReference({ namespace, name }: JobReference): { name: string; namespace?: string } {
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}

export function readReference(fields: FieldReader, job: JobReferenceMessage | undefined): JobReference {
  const { namespace, name } = fields.present("job", job);
  return { name: fields.text("job.name", name), ...(namespace === undefined || namespace === "" ? {} : { namespace }) };
}

export function writePage({ pageSize, pageToken }: Page): { pageSize?: number; pageToken?: string } {
  return { ...(pageSize === undefined ? {} : { pageSize }), ...(pageToken === undefined ? {} : { pageToken }) };
}

export function readPage(fields: FieldReader, { pageSize, pageToken }: { readonly pageSize?: number; readonly pageToken?: string }): Page {
  if (pageSize !== undefined && !(pageSize >= 1 && pageSize <= limits.pageSize)) {
    fields.fail("page_size", `must be 1 to ${limits.pageSize}, found ${pageSize}`);
  }
  return { ...(pageSize === undefined ? {} : { pageSize }), ...(pageToken === undefined || pageToken === "" ? {} : { pageToken }) };
}

export function writePhases(phases: readonly ResourcePhase[] | undefined): JobStatus_Phase[] {
  return (phases ?? []).map((phase) => JobStatus_Phase[phase]);
}

export function readPhases(fields: FieldReader, phases: readonly JobStatus_Phase[]): ResourcePhase[] {
  return phases.map(
    (phase, index) => (JobStatus_Phase[phase] as ResourcePhase | undefined) ?? fields.fail(`phases[${index}]`, `is no phase: ${phase}`),
  );
}

export function writeResult({ summary, metricsJson, files }: JobResult): MessageInitShape<typeof GetResultResponseSchema> {
  return {
    summary: fromJson(ResultSummarySchema, summary as unknown as JsonValue),
    metricsJson,
    files: files.map(({ path, bytes, sha256, url }) => ({ path, bytes: BigInt(bytes), sha256, ...(url === undefined ? {} : { url }) })),
  };
}

export function readResult(fields: FieldReader, { summary, metricsJson, files }: GetResultResponse): JobResult {
  return {
    summary: readSummary(fields, summary),
    metricsJson: fields.text("metrics_json", metricsJson),
    files: files.map(({ path, bytes, sha256, url }, index) => ({
      path: fields.text(`files[${index}].path`, path),
      bytes: fields.count(`files[${index}].bytes`, bytes),
      sha256: fields.sha256(`files[${index}].sha256`, sha256),
      url: url === "" ? undefined : url,
    })),
  };
}

function readSummary(fields: FieldReader, summary: ResultSummary | undefined): JobResultSummary {
  const message = fields.present("summary", summary);
  fields.text("summary.location", message.location);
  fields.sha256("summary.weights_sha256", message.weightsSha256);
  return toJson(ResultSummarySchema, message) as unknown as JobResultSummary;
}

export function writeEvent({ timeMs, kind, message }: RecordedEvent): MessageInitShape<typeof JobEventSchema> {
  return { time: timestampFromMs(timeMs), kind, message };
}

export function readEvent(fields: FieldReader, { time, kind, message }: JobEvent): RecordedEvent {
  return {
    timeMs: timestampMs(fields.present("time", time)),
    kind: fields.text("kind", kind),
    message: fields.present("message", message),
  };
}
