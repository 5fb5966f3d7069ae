import { CodedError } from "../../domain/errors.js";
import { systemClock } from "../../platform/clock/system.js";
import { type ChannelSettings, openChannel } from "../../platform/grpc/client.js";
import { grpcJobService } from "../../platform/job-service/grpc-client.js";
import { openPortForward } from "../../platform/kubernetes/port-forward.js";
import { serviceAccountTokens } from "../../platform/kubernetes/service-account-token.js";
import type { UseServer } from "../server.js";
import { type ServerChoice, tlsOf } from "../server-access.js";
import type { ServerFlags } from "../server-flags.js";
import { COORDINATOR, findCoordinator, leaderPod } from "./leader.js";
import { openKubernetes } from "./open.js";

/** Whose token is used, in the namespace of the job. */
const CLIENT_ACCOUNT = "graft-client";
/** What the coordinator asks of a token, besides being the cluster's. */
const AUDIENCE = "graft";

/** Calls `use` with the jobs of a coordinator on Kubernetes, reached as `choice` says, and takes the port-forward down. */
export async function withKubernetesServer<T>(
  flags: ServerFlags,
  choice: Exclude<ServerChoice, { via: "address" }>,
  givenToken: ChannelSettings["token"],
  use: UseServer<T>,
): Promise<T> {
  // Who gives address, token and namespace needs no kubeconfig.
  if (choice.via === "address on Kubernetes" && givenToken !== undefined && flags.namespace !== undefined)
    return await useChannel(await directly(flags, choice.address, { token: givenToken }), flags.namespace, use);
  const { kubernetes, namespace } = await openKubernetes(flags);
  const account = { namespace, name: flags.serviceAccount ?? CLIENT_ACCOUNT };
  const credentials: Credentials =
    givenToken === undefined ? { freshToken: serviceAccountTokens(kubernetes, account, AUDIENCE, systemClock) } : { token: givenToken };
  if (choice.via === "address on Kubernetes") return await useChannel(await directly(flags, choice.address, credentials), namespace, use);
  const coordinator = await findCoordinator(kubernetes, flags.systemNamespace);
  const forwarding = await openPortForward(kubernetes, () => leaderPod(kubernetes, coordinator));
  try {
    const { address } = forwarding;
    const tls = await tlsOf(flags, address);
    // The certificate is made out for the Service, not for this end of the port-forward.
    const serverName = `${COORDINATOR}.${coordinator.namespace}.svc`;
    return await useChannel({ address, tls: tls === "plaintext" ? tls : { ...tls, serverName }, ...credentials }, namespace, use);
  } catch (error) {
    const isAway = error instanceof CodedError && error.code === "SERVER_UNAVAILABLE";
    throw isAway ? (forwarding.lastFailure() ?? error) : error;
  } finally {
    await forwarding.close();
  }
}

type Credentials = Pick<ChannelSettings, "token" | "freshToken">;

async function directly(flags: ServerFlags, address: string, credentials: Credentials): Promise<ChannelSettings> {
  return { address, tls: await tlsOf(flags, address), allowPlaintext: flags.plaintext === true, ...credentials };
}

async function useChannel<T>(settings: ChannelSettings, namespace: string, use: UseServer<T>): Promise<T> {
  const channel = openChannel(settings);
  try {
    return await use(grpcJobService(channel, { clock: systemClock, random: Math.random }), namespace);
  } finally {
    channel.close();
  }
}
