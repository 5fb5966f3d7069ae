import { systemClock } from "../platform/clock/system.js";
import { openChannel } from "../platform/grpc/client.js";
import { grpcJobService } from "../platform/job-service/grpc-client.js";
import type { JobReference, JobService } from "../platform/job-service/job-service.js";
import { serverAddress } from "./config.js";
import { localCluster } from "./local-cluster.js";
import { programName } from "./program-name.js";
import { chooseServer, givenToken, tlsOf } from "./server-access.js";
import type { ServerFlags } from "./server-flags.js";

/** Where a coordinator listens that was told nothing else. */
const DEFAULT_SERVER = "127.0.0.1:7070";

/** What is done with the jobs of a server; `namespace` is that of the jobs that are meant, on Kubernetes. */
export type UseServer<T> = (jobs: JobService, namespace: string | undefined) => Promise<T>;

/** Calls `use` with the jobs of the server and closes the connection. */
export async function withServer<T>(flags: ServerFlags, use: UseServer<T>): Promise<T> {
  const token = await givenToken(flags);
  const choice = chooseServer(flags, { program: programName, address: serverAddress(flags), hasToken: token !== undefined });
  if (choice.via !== "address") return (await import("./kubernetes/server.js")).withKubernetesServer(flags, choice, token, use);
  const address = choice.address ?? (await localCluster())?.server ?? DEFAULT_SERVER;
  const channel = openChannel({
    address,
    allowPlaintext: flags.plaintext === true,
    tls: await tlsOf(flags, address),
    ...(token !== undefined && { token }),
  });
  try {
    return await use(grpcJobService(channel, { clock: systemClock, random: Math.random }), undefined);
  } finally {
    channel.close();
  }
}

/** A job by name or id, in the namespace that is meant. */
export function jobReference(name: string, namespace: string | undefined): JobReference {
  return { name, ...(namespace !== undefined && { namespace }) };
}
