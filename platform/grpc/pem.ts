import { createSecureContext } from "node:tls";
import { CodedError } from "../../domain/errors.js";

/** Certificates and keys of one side, in PEM. */
export interface Pem {
  readonly certificate?: Uint8Array | undefined;
  readonly key?: Uint8Array | undefined;
  /** Who may have signed the other side's certificate. */
  readonly ca?: Uint8Array | undefined;
}

/** Reads them once, so that a wrong file is found at the start and not by the first connection. @throws CodedError CONFIG_INVALID */
export function refuseBadPem(pem: Pem): void {
  const given = Object.entries({ cert: pem.certificate, key: pem.key, ca: pem.ca }).filter(([, bytes]) => bytes !== undefined);
  try {
    createSecureContext(Object.fromEntries(given.map(([name, bytes]) => [name, Buffer.from(bytes!)])));
    if (pem.ca !== undefined && !Buffer.from(pem.ca).includes("-----BEGIN CERTIFICATE-----"))
      throw new Error("no certificate in the CA file");
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError(
      "CONFIG_INVALID",
      `tls: certificates and keys must be PEM, and a key that of its certificate; found: ${found}`,
      {},
      cause,
    );
  }
}
