import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A self-signed certificate, its own authority. */
export interface TestCertificate {
  readonly certificate: Buffer;
  readonly key: Buffer;
  /** Their PEM files. */
  readonly files: { readonly certificate: string; readonly key: string };
}

/** A self-signed certificate in `folder` for a name or 127.0.0.1, by openssl. */
export function selfSigned(folder: string, name: string): TestCertificate {
  const files = { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=${name === "127.0.0.1" ? "IP" : "DNS"}:${name}`];
  const out = ["-keyout", files.key, "-out", files.certificate];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject, ...out], { stdio: "pipe" });
  return { certificate: readFileSync(files.certificate), key: readFileSync(files.key), files };
}
