import { readFileSync } from "node:fs";
import { Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { CodedError, errorCodes, type ErrorCode } from "../../domain/errors.js";
import { specInvalid } from "../../domain/job/problems.js";
import { errorOf, grpcStatus, statusOf } from "./errors.js";

const failed = (code: status, details: string, metadata = new Metadata()): ServiceError =>
  Object.assign(new Error(`${code} ${details}`), { code, details, metadata });

/** What a client makes of what a server makes of it. */
function roundTrip(error: unknown): Error {
  const { code, details, metadata } = statusOf(error);
  return errorOf(failed(code, details, metadata), "h:1", "GetJob");
}

test("every code comes back as it was, with its message", () => {
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    const error = new CodedError(code, `${code}: größer als 3, found 5; ask "again"`);
    expect(statusOf(error).code).toBe(grpcStatus[code]);
    expect(roundTrip(error)).toEqual(error);
    expect(roundTrip(error)).toMatchObject({ code });
  }
});

test("codes that pass have a status that says so, and no others have it", () => {
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    const passing = grpcStatus[code] === status.UNAVAILABLE || code === "EXCHANGE_INCOMPLETE" || code === "CLUSTER_CONFLICT";
    expect([code, passing]).toEqual([code, errorCodes[code].retryable]);
  }
});

test("docs/protocols/grpc.md has the table", () => {
  const rows = [...readFileSync("docs/protocols/grpc.md", "utf8").matchAll(/^\| `([A-Z_]+)` \| (`[A-Z_`, ]+) \|$/gm)];
  const listed = rows.flatMap(([, name, codes = ""]) => [...codes.matchAll(/[A-Z_]+/g)].map(([code]) => [code, name]));
  expect(Object.fromEntries(listed)).toEqual(
    Object.fromEntries(Object.entries(grpcStatus).map(([code, number]) => [code, status[number]])),
  );
});

test("problems come back with their fields", () => {
  const error = specInvalid("flowers: the job", [
    { path: "head.layers[0].dense.units", message: "must be at least 1, found 0" },
    { path: "", message: "ü" },
  ]);
  expect(roundTrip(error)).toEqual(error);
  expect(roundTrip(error)).toMatchObject({ details: error.details });
});

test("what nobody expected tells the client nothing", () => {
  const { code, details, metadata } = statusOf(new TypeError("secret: s3 key AKIA"));
  expect(code).toBe(status.INTERNAL);
  expect(`${details} ${metadata.get("grpc-status-details-bin").map(String).join("")}`).not.toMatch(/secret|TypeError|errors\.test/);
  const seen = errorOf(failed(code, details, metadata), "h:1", "GetJob");
  expect(seen).not.toBeInstanceOf(CodedError);
  expect(seen.message).toBe("GetJob on h:1: INTERNAL: internal error of the server; its log says more");
});

test("no error is too long for the headers that clients accept", () => {
  const long = "ü".repeat(9_000);
  const errors = [
    new CodedError("STORE_FULL", long),
    specInvalid(
      long,
      Array.from({ length: 100 }, () => ({ path: long, message: long })),
    ),
    new CodedError("STORE_FULL", `${"x".repeat(2_000)}\ud800`),
  ];
  for (const error of errors) {
    const { details, metadata } = statusOf(error);
    const [bytes] = metadata.get("grpc-status-details-bin");
    expect(encodeURI(details).length + Buffer.from(bytes as Buffer).toString("base64").length).toBeLessThan(8_000);
    expect(roundTrip(error)).toMatchObject({ code: error.code });
  }
});

test("gRPC's own failures have a code, and name the address", () => {
  const table: [status, ErrorCode][] = [
    [status.UNAVAILABLE, "SERVER_UNAVAILABLE"],
    [status.DEADLINE_EXCEEDED, "SERVER_UNAVAILABLE"],
    [status.CANCELLED, "SERVER_UNAVAILABLE"],
    [status.UNIMPLEMENTED, "CONTRACT_MISMATCH"],
    [status.UNAUTHENTICATED, "ACCESS_DENIED"],
    [status.PERMISSION_DENIED, "ACCESS_DENIED"],
    [status.RESOURCE_EXHAUSTED, "REQUEST_INVALID"],
    [status.INVALID_ARGUMENT, "REQUEST_INVALID"],
  ];
  for (const [code, expected] of table) {
    const error = errorOf(failed(code, "why"), "host:7", "GetJob");
    expect([status[code], error]).toEqual([status[code], expect.objectContaining({ code: expected })]);
    expect(error.message).toContain("host:7");
    expect(error.message).toContain("why");
  }
});

test("details of other servers, and broken ones, do no harm", () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from([0xff, 0xff, 0xff])]) {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", bytes);
    expect(errorOf(failed(status.UNAVAILABLE, "proxy", metadata), "h:1", "GetJob")).toMatchObject({ code: "SERVER_UNAVAILABLE" });
  }
});
