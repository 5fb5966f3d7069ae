import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Metadata, status, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { CodedError, errorCodes, type ErrorCode } from "../../domain/errors.js";
import { specInvalid, type Problem } from "../../domain/job/problems.js";
import { limits } from "../../domain/limits.js";
import {
  BadRequest_FieldViolationSchema,
  BadRequestSchema,
  ErrorInfoSchema,
  LocalizedMessageSchema,
  type BadRequest_FieldViolation,
} from "../../proto/gen/third_party/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../proto/gen/third_party/google/rpc/status_pb.js";

/** Where `google.rpc.Status` travels, by gRPC's convention. */
const DETAILS_HEADER = "grpc-status-details-bin";
/** `ErrorInfo.domain` of graft's codes. */
const DOMAIN = "graft.dev";

/** The one place that says which gRPC status a failure has. */
export const grpcStatus = {
  SPEC_INVALID: status.INVALID_ARGUMENT,
  USAGE_INVALID: status.INVALID_ARGUMENT,
  REQUEST_INVALID: status.INVALID_ARGUMENT,
  CONFIG_INVALID: status.FAILED_PRECONDITION,
  JOB_NOT_FOUND: status.NOT_FOUND,
  JOB_EXISTS: status.ALREADY_EXISTS,
  JOB_NOT_COMPLETE: status.FAILED_PRECONDITION,
  DATASET_NOT_FOUND: status.NOT_FOUND,
  DATASET_UNREADABLE: status.UNAVAILABLE,
  DATASET_INVALID: status.FAILED_PRECONDITION,
  DATASET_CHANGED: status.FAILED_PRECONDITION,
  TOO_MANY_REJECTED: status.FAILED_PRECONDITION,
  BACKBONE_UNKNOWN: status.NOT_FOUND,
  WEIGHTS_INVALID: status.FAILED_PRECONDITION,
  FILE_FORMAT_INVALID: status.FAILED_PRECONDITION,
  CUT_ILLEGAL: status.INVALID_ARGUMENT,
  NETWORK_INVALID: status.INVALID_ARGUMENT,
  JOB_TOO_LARGE: status.FAILED_PRECONDITION,
  TRAINING_DIVERGED: status.FAILED_PRECONDITION,
  ACCURACY_TOO_LOW: status.FAILED_PRECONDITION,
  TRAINERS_DIVERGED: status.DATA_LOSS,
  EXCHANGE_INCOMPLETE: status.ABORTED,
  LEASE_LOST: status.ABORTED,
  JOB_TRANSITION_ILLEGAL: status.FAILED_PRECONDITION,
  GENERATION_STALE: status.ABORTED,
  NUMERICS_PROFILE_MISMATCH: status.FAILED_PRECONDITION,
  DEADLINE_EXCEEDED: status.FAILED_PRECONDITION,
  BACKOFF_LIMIT_EXCEEDED: status.FAILED_PRECONDITION,
  WORKER_OUT_OF_MEMORY: status.FAILED_PRECONDITION,
  WORKERS_UNSCHEDULABLE: status.FAILED_PRECONDITION,
  IMAGE_PULL_FAILED: status.FAILED_PRECONDITION,
  WORKERS_NOT_STARTED: status.FAILED_PRECONDITION,
  SERVER_UNAVAILABLE: status.UNAVAILABLE,
  BUS_UNAVAILABLE: status.UNAVAILABLE,
  ACCESS_DENIED: status.PERMISSION_DENIED,
  CLUSTER_UNAVAILABLE: status.UNAVAILABLE,
  CLUSTER_CONFLICT: status.ABORTED,
  CLUSTER_NOT_FOUND: status.NOT_FOUND,
  CLUSTER_REFUSED: status.FAILED_PRECONDITION,
  CONTRACT_MISMATCH: status.FAILED_PRECONDITION,
  ENGINE_UNAVAILABLE: status.FAILED_PRECONDITION,
  ENGINE_UNSUPPORTED: status.FAILED_PRECONDITION,
  STORE_NOT_FOUND: status.FAILED_PRECONDITION,
  STORE_FULL: status.RESOURCE_EXHAUSTED,
  STORE_UNAVAILABLE: status.UNAVAILABLE,
  STORE_FORMAT_NEWER: status.FAILED_PRECONDITION,
  OBJECT_CORRUPT: status.DATA_LOSS,
  OBJECT_MISSING: status.DATA_LOSS,
  INTERRUPTED: status.CANCELLED,
} as const satisfies Record<ErrorCode, status>;

/**
 * A failure as the client sees it: status, message, and google.rpc details. Of what is no CodedError it learns only that it happened.
 * `code` overrides the table where a code has two statuses.
 */
export function statusOf(error: unknown, code?: status): StatusObject {
  if (!(error instanceof CodedError)) {
    return statusObject(status.INTERNAL, "INTERNAL", "internal error of the server; its log says more", []);
  }
  const problems = problemsOf(error);
  // With problems, the rest of the message is made from them again at the other end.
  const message = problems.length > 0 ? error.message.split("\n", 1).join("") : error.message;
  return statusObject(code ?? grpcStatus[error.code], error.code, message, problems);
}

/** What a call's failure means: the code that the server sent, or what gRPC itself says about `address`. */
export function errorOf(error: ServiceError, address: string, method: string): Error {
  const sent = sentError(error);
  if (sent !== undefined) return sent;
  const found = `${method} on ${address}: ${status[error.code] ?? error.code}: ${error.details}`;
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    case status.CANCELLED:
      return new CodedError(
        "SERVER_UNAVAILABLE",
        `the server at ${address} does not answer (${status[error.code]}: ${error.details}); check the address, its TLS settings and that it runs`,
        { address },
        error,
      );
    case status.UNIMPLEMENTED:
      return new CodedError(
        "CONTRACT_MISMATCH",
        `${found}; the server does not know this call: run the same version of graft on both sides`,
      );
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return new CodedError("ACCESS_DENIED", `${found}; give the token that the server was configured with`);
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
    case status.RESOURCE_EXHAUSTED:
      return new CodedError("REQUEST_INVALID", found);
    default:
      return new Error(found, { cause: error });
  }
}

function statusObject(code: status, reason: string, message: string, problems: readonly Problem[]): StatusObject {
  const info = anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: DOMAIN }));
  // Python's grpc_status refuses details whose message is another than that of the call; so the rest of a long one is a detail of its own.
  const short = clip(message, limits.grpcErrorMessageBytes);
  const long = create(LocalizedMessageSchema, { locale: "en", message: clip(message, limits.grpcErrorDetailBytes / 2) });
  const always = short === long.message ? [info] : [info, anyPack(LocalizedMessageSchema, long)];
  const encode = (violations: readonly BadRequest_FieldViolation[]): Uint8Array => {
    const bad = anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [...violations] }));
    const details = violations.length > 0 ? [...always, bad] : always;
    return toBinary(StatusSchema, create(StatusSchema, { code, message: short, details }));
  };
  const metadata = new Metadata();
  metadata.set(DETAILS_HEADER, Buffer.from(encode(boundedViolations(problems, (some) => encode(some).length))));
  return { code, details: short, metadata };
}

/** As many as fit into the details; the last one counts the rest. */
function boundedViolations(problems: readonly Problem[], size: (some: readonly BadRequest_FieldViolation[]) => number) {
  const violations: BadRequest_FieldViolation[] = [];
  for (const [index, { path, message }] of problems.entries()) {
    const violation = create(BadRequest_FieldViolationSchema, { field: clip(path, 200), description: clip(message, 1_000) });
    const rest = create(BadRequest_FieldViolationSchema, { description: `and ${problems.length - index} more` });
    if (size([...violations, violation, rest]) > limits.grpcErrorDetailBytes) return [...violations, rest];
    violations.push(violation);
  }
  return violations;
}

/** The longest beginning of `text` with at most so many bytes in percent-encoding, which is what it has in a header. */
function clip(text: string, bytes: number): string {
  const whole = text.slice(0, bytes + 1).replace(/\p{Surrogate}/gu, "\ufffd"); // halves of characters, which no encoding has
  if (encodeURI(whole).length <= bytes) return whole;
  const characters = Array.from(whole);
  let used = 0;
  let end = 0;
  while (end < characters.length) {
    used += encodeURI(characters[end]!).length;
    if (used > bytes - encodeURI("…").length) break;
    end++;
  }
  return `${characters.slice(0, end).join("")}…`;
}

function problemsOf(error: CodedError): readonly Problem[] {
  const problems = error.details["problems"];
  return Array.isArray(problems) ? (problems as readonly Problem[]) : [];
}

/** The failure that a graft server described in the details; undefined where there are none, or no code that this version knows. */
function sentError(error: ServiceError): Error | undefined {
  const [bytes] = error.metadata?.get(DETAILS_HEADER) ?? [];
  if (!(bytes instanceof Buffer)) return undefined;
  try {
    const { message: short, details } = fromBinary(StatusSchema, bytes);
    const message = details.map((any) => anyUnpack(any, LocalizedMessageSchema)).find((long) => long !== undefined)?.message ?? short;
    const reason = details.map((any) => anyUnpack(any, ErrorInfoSchema)).find((info) => info?.domain === DOMAIN)?.reason;
    if (reason === undefined || !isErrorCode(reason)) return undefined;
    const violations = details.flatMap((any) => anyUnpack(any, BadRequestSchema)?.fieldViolations ?? []);
    if (violations.length === 0) return new CodedError(reason, message);
    const problems = violations.map(({ field, description }) => ({ path: field, message: description }));
    const [, subject = "request"] = /^(.*): \d+ problems?$/s.exec(message) ?? [];
    return reason === "SPEC_INVALID" ? specInvalid(subject, problems) : new CodedError(reason, message, { problems });
  } catch {
    return undefined; // no google.rpc.Status: somebody else's server or proxy
  }
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}
