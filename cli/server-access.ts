import { readFile } from "node:fs/promises";
import { CodedError } from "../domain/errors.js";
import type { ClientTls } from "../platform/grpc/client.js";
import { tokenFile } from "../platform/grpc/token-file.js";
import { serverToken } from "./config.js";
import type { ServerFlags } from "./server-flags.js";
import { systemError } from "./system-error.js";

/** What this program was started as, and what the environment says. */
export interface Surroundings {
  readonly program: "graft" | "kubectl graft";
  /** --server, else $GRAFT_SERVER. */
  readonly address: string | undefined;
  /** --token-file or $GRAFT_TOKEN. */
  readonly hasToken: boolean;
}

/** How the coordinator is reached, and with which token. */
export type ServerChoice =
  | { readonly via: "address"; readonly address: string | undefined; readonly token: "given" | "none" }
  | { readonly via: "address on Kubernetes"; readonly address: string; readonly token: "given" | "requested" }
  | { readonly via: "port-forward"; readonly token: "given" | "requested" };

/** Whether the coordinator is one on Kubernetes: always for kubectl's plug-in, else where a flag says so. */
export function usesKubernetes(flags: ServerFlags, program: Surroundings["program"]): boolean {
  const { kubeconfig, context, namespace, systemNamespace, serviceAccount } = flags;
  return (
    program === "kubectl graft" || [kubeconfig, context, namespace, systemNamespace, serviceAccount].some((flag) => flag !== undefined)
  );
}

/** An address that is given is used as it is; a token that is given is sent instead of one of the job's namespace. */
export function chooseServer(flags: ServerFlags, { program, address, hasToken }: Surroundings): ServerChoice {
  if (!usesKubernetes(flags, program)) return { via: "address", address, token: hasToken ? "given" : "none" };
  const which = hasToken ? "given" : "requested";
  return address === undefined ? { via: "port-forward", token: which } : { via: "address on Kubernetes", address, token: which };
}

/** A certificate of either side is for TLS; without one this machine is reached in plaintext. */
export async function tlsOf({ ca, certificate, key, plaintext }: ServerFlags, address: string): Promise<ClientTls | "plaintext"> {
  if ((certificate === undefined) !== (key === undefined))
    throw new CodedError("USAGE_INVALID", "--certificate and --key belong together; give both, or neither");
  const isLoopback = /^(127\.|localhost:|\[::1\])/.test(address);
  if (ca === undefined && certificate === undefined && (plaintext === true || isLoopback)) return "plaintext";
  return {
    ...(ca !== undefined && { ca: await readFlag(ca, "--ca") }),
    ...(certificate !== undefined &&
      key !== undefined && { own: { certificate: await readFlag(certificate, "--certificate"), key: await readFlag(key, "--key") } }),
  };
}

/** The token of --token-file, else of $GRAFT_TOKEN, as a channel takes it. @throws CodedError USAGE_INVALID where the file cannot be read */
export async function givenToken({ tokenFile: file }: ServerFlags): Promise<string | (() => string) | undefined> {
  if (file === undefined) return serverToken();
  await readFlag(file, "--token-file");
  return tokenFile(file);
}

/** The content of a file that a flag names. @throws CodedError USAGE_INVALID */
export async function readFlag(file: string, flag: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new CodedError("USAGE_INVALID", `${flag} ${file}: cannot be read (${systemError(error)}); give a file that is there`, {}, error);
  }
}
