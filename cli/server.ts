import { readFile } from "node:fs/promises";
import { CodedError } from "../domain/errors.js";
import { systemClock } from "../platform/clock/system.js";
import { type ClientTls, openChannel } from "../platform/grpc/client.js";
import { tokenFile } from "../platform/grpc/token-file.js";
import { grpcJobService } from "../platform/job-service/grpc-client.js";
import type { JobService } from "../platform/job-service/job-service.js";
import { serverAddress, serverToken } from "./config.js";
import { localCluster } from "./local-cluster.js";
import type { ServerFlags } from "./server-flags.js";
import { systemError } from "./system-error.js";

/** Where a coordinator listens that was told nothing else. */
const DEFAULT_SERVER = "127.0.0.1:7070";

/** Calls `use` with the jobs of the server and closes the connection. */
export async function withServer<T>(flags: ServerFlags, use: (jobs: JobService) => Promise<T>): Promise<T> {
  const address = serverAddress(flags) ?? (await localCluster())?.server ?? DEFAULT_SERVER;
  const token = flags.tokenFile === undefined ? serverToken() : await tokenIn(flags.tokenFile);
  const channel = openChannel({
    address,
    allowPlaintext: flags.plaintext === true,
    tls: await tlsOf(flags, address),
    ...(token !== undefined && { token }),
  });
  try {
    return await use(grpcJobService(channel, { clock: systemClock, random: Math.random }));
  } finally {
    channel.close();
  }
}

/** A certificate of either side is for TLS; without one this machine is reached in plaintext. */
async function tlsOf({ ca, certificate, key, plaintext }: ServerFlags, address: string): Promise<ClientTls | "plaintext"> {
  if ((certificate === undefined) !== (key === undefined))
    throw new CodedError("USAGE_INVALID", "--certificate and --key belong together; give both, or neither");
  const isLoopback = /^(127\.|localhost:|\[::1\])/.test(address);
  if (ca === undefined && certificate === undefined && (plaintext === true || isLoopback)) return "plaintext";
  return {
    ...(ca !== undefined && { ca: await read(ca, "--ca") }),
    ...(certificate !== undefined &&
      key !== undefined && { own: { certificate: await read(certificate, "--certificate"), key: await read(key, "--key") } }),
  };
}

async function tokenIn(file: string): Promise<() => string> {
  await read(file, "--token-file");
  return tokenFile(file);
}

async function read(file: string, flag: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new CodedError("USAGE_INVALID", `${flag} ${file}: cannot be read (${systemError(error)}); give a file that is there`, {}, error);
  }
}
