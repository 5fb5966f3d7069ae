import { CodedError } from "../../domain/errors.js";

/** A server refuses requests whose time is further off than this. */
const CLOCK_DIFFERENCE_MS_MAX = 15 * 60_000;

const missingBucket = new Set(["NoSuchBucket"]);
const denied = new Set(["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AccountProblem"]);
const full = new Set(["XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"]);
/** Address or region are those of another server or bucket. */
const misdirected = new Set([
  ...["AuthorizationHeaderMalformed", "InvalidRegion", "MovedPermanently", "PermanentRedirect", "TemporaryRedirect"],
  ...["InvalidBucketName", "InvalidBucketNameError", "MethodNotAllowed", "NotImplemented", "NO_S3_ANSWER"],
]);
/** States of the server or the way to it that pass. */
const passing = new Set([
  ...["SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted"],
  ...[
    "ConditionalRequestConflict",
    "XAmzContentSHA256Mismatch",
    "BadDigest",
    "IncompleteBody",
    "TooManyRequests",
    "XMinioServerNotInitialized",
  ],
]);

/** The server's name for what went wrong, or the system's; undefined for a mistake in the code. */
export function s3CodeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const status = /Retryable HTTP status: (\d+)/.exec(error.message)?.[1];
  if (status !== undefined) return `HTTP ${status}`;
  if ("code" in error && typeof error.code === "string") return error.code;
  // The client makes one without a code from what it cannot read.
  return error.name === "S3Error" ? "NO_S3_ANSWER" : undefined;
}

/** The coded error for what the server or the network said while graft tried to do `what`; errors of other kinds come back as they are. */
export function s3ErrorFrom(
  error: unknown,
  what: string,
  { endpoint, bucket, accessKey, clockAheadMs }: { endpoint: string; bucket: string; accessKey: string; clockAheadMs: number | undefined },
): unknown {
  if (error instanceof CodedError) return error;
  const code = s3CodeOf(error);
  if (code === undefined || code.startsWith("ERR_")) return error;
  const where = `store s3://${bucket} at ${endpoint}`;
  const details = { endpoint, bucket, s3Code: code };
  const ahead = clockAheadMs ?? 0;
  if (code === "RequestTimeTooSkewed" || (code === "AccessDenied" && Math.abs(ahead) > CLOCK_DIFFERENCE_MS_MAX))
    return new CodedError(
      "ACCESS_DENIED",
      `${where}: cannot ${what}: the server's clock is ${clockText(ahead)} this machine's, more than the 15 minutes that it allows; set both clocks by NTP`,
      { ...details, clockAheadMs: ahead },
      error,
    );
  if (missingBucket.has(code))
    return new CodedError(
      "STORE_NOT_FOUND",
      `${where}: cannot ${what}: there is no bucket ${bucket}; make it there, or correct bucket or endpoint`,
      details,
      error,
    );
  if (denied.has(code))
    return new CodedError(
      "ACCESS_DENIED",
      `${where}: cannot ${what}: the server refuses the keys (${code}); check that access key ${shown(accessKey)} exists there, that its secret is right and that it may read, write, list and delete in ${bucket}`,
      details,
      error,
    );
  if (misdirected.has(code))
    return new CodedError(
      "CONFIG_INVALID",
      `${where}: cannot ${what}: ${code === "NO_S3_ANSWER" ? "what answers there is no S3-compatible server" : `the server answers ${reasonOf(code, error)}`}; check endpoint (GRAFT_S3_ENDPOINT), region (GRAFT_S3_REGION) and bucket`,
      details,
      error,
    );
  if (full.has(code))
    return new CodedError(
      "STORE_FULL",
      `${where}: cannot ${what}: its disk or quota is full (${code}); free some space and run again, nothing that was stored is lost`,
      details,
      error,
    );
  if (code.startsWith("HTTP ") || passing.has(code) || isOfNetwork(code))
    return new CodedError(
      "STORE_UNAVAILABLE",
      `${where}: cannot ${what}: ${reasonOf(code, error)}; check that the server runs and can be reached, then run again`,
      details,
      error,
    );
  return new CodedError(
    "STORE_UNAVAILABLE",
    `${where}: cannot ${what}: the server answers ${code}: ${error instanceof Error ? error.message : ""}; graft doctor --store tries what graft needs of a store`,
    details,
    error,
  );
}

/** "12 minutes ahead of", "3 seconds behind". */
export function clockText(aheadMs: number): string {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  const amount = seconds >= 120 ? `${Math.round(seconds / 60)} minutes` : `${seconds} seconds`;
  return `${amount} ${aheadMs < 0 ? "behind" : "ahead of"}`;
}

function isOfNetwork(code: string): boolean {
  return /^(E[A-Z]+|HPE_[A-Z_]+|CERT_[A-Z_]+|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|DEADLINE)$/.test(code);
}

function reasonOf(code: string, error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  return message === "" || message.includes("Retryable HTTP status") ? code : `${code} (${message})`;
}

/** Enough to know the key by, of which none is printed whole. */
function shown(accessKey: string): string {
  return accessKey.length <= 4 ? "…" : `${accessKey.slice(0, 4)}…`;
}
