import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { z } from "zod";
import { CodedError } from "../../domain/errors.js";
import type { S3Access } from "../../platform/bucket/bucket.js";
import type { coordinator } from "../../platform/config/config.js";
import { type GrpcChannel, openChannel } from "../../platform/grpc/client.js";
import { tokenFile } from "../../platform/grpc/token-file.js";

/** What an extractor's and a trainer's process have in common. */

/** Unique among the workers that live. */
export function workerName({ name }: { readonly name?: string | undefined }): string {
  return name ?? `${hostname()}-${String(process.pid)}`;
}

/** The channel that a worker's config describes. @throws CodedError CONFIG_INVALID */
export async function openCoordinator({
  address,
  token,
  tokenFile: file,
  tls,
  allowPlaintext,
}: z.output<typeof coordinator>): Promise<GrpcChannel> {
  const encrypted = tls && {
    ...(tls.ca !== undefined && { ca: await readFile(tls.ca) }),
    ...(tls.serverName !== undefined && { serverName: tls.serverName }),
    ...(tls.certificate !== undefined &&
      tls.key !== undefined && { own: { certificate: await readFile(tls.certificate), key: await readFile(tls.key) } }),
  };
  const shown = file === undefined ? token : tokenFile(file);
  return openChannel({ address, allowPlaintext, tls: encrypted ?? "plaintext", ...(shown !== undefined && { token: shown }) });
}

/** The keys to a dataset out of a mounted Secret. @throws CodedError CONFIG_INVALID naming the file that is missing */
export async function readDatasetCredentials(folder: string): Promise<S3Access> {
  const read = async (name: string): Promise<string> => {
    try {
      return (await readFile(join(folder, name), "utf8")).trim();
    } catch (cause) {
      throw new CodedError(
        "CONFIG_INVALID",
        `datasetCredentials: ${join(folder, name)} cannot be read; the Secret needs ${name}`,
        {},
        cause,
      );
    }
  };
  return {
    endpoint: await read("endpoint"),
    accessKey: await read("accessKey"),
    secretKey: await read("secretKey"),
    region: await read("region").catch(() => "us-east-1"),
  };
}
