import { isIP } from "node:net";
import { CodedError } from "../../domain/errors.js";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, with an IPv6 address in brackets. @throws CodedError CONFIG_INVALID */
export function parseAddress(text: string): Address {
  const [, inBrackets, plain, digits] = /^(?:\[([^[\]]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = inBrackets ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535 || (inBrackets !== undefined && isIP(inBrackets) !== 6)) {
    throw new CodedError(
      "CONFIG_INVALID",
      `address: must be HOST:PORT, as in coordinator:7070 or [::1]:7070; found ${JSON.stringify(text)}`,
    );
  }
  return { host, port };
}

/** Without TLS only on loopback, or where somebody has said so. @throws CodedError CONFIG_INVALID */
export function refuseForeignPlaintext(address: string, allowPlaintext: boolean): void {
  const { host } = parseAddress(address);
  if (allowPlaintext || isLoopback(host)) return;
  throw new CodedError(
    "CONFIG_INVALID",
    `${address}: without TLS tokens and data would cross the network readable by others, and this is no loopback address; ` +
      `give a certificate (of the server; for a client the CA that signed it), or allow plaintext explicitly where the network itself is encrypted`,
  );
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
