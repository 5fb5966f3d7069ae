import { createHash } from "node:crypto";

/** The id of the job that a request asks for: equal requests are one job. A UUID of version 8 (RFC 9562, appendix B.2) from the SHA-256 of the request id. */
export function jobIdFromRequest(requestId: string): string {
  const bytes = createHash("sha256").update(`graft job\n${requestId}`).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
