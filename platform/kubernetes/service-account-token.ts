import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../clock/clock.js";
import type { Kubernetes } from "./kubernetes.js";

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Tokens of a service account for one audience, by TokenRequest: the same one until little of its life is left, then the next. A renewal that fails in passing leaves the old one in
 * use while it is valid.
 */
export function serviceAccountTokens(
  kubernetes: Kubernetes,
  account: ServiceAccount,
  audience: string,
  clock: Clock,
  lifeSeconds: number = limits.clientTokenSeconds,
): () => Promise<string> {
  let held: { readonly token: string; readonly renewMs: number; readonly endMs: number } | undefined;
  let asking: Promise<string> | undefined;
  const ask = async (): Promise<string> => {
    const askedMs = clock.monotonic();
    try {
      const { token, seconds } = await requestToken(kubernetes, account, audience, lifeSeconds);
      // Counted from before the request by this machine's own clock, so that it is never taken for longer valid than it is.
      const lifeMs = seconds * 1_000;
      held = { token, renewMs: askedMs + lifeMs * (1 - limits.clientTokenRenewAt), endMs: askedMs + lifeMs };
      return token;
    } catch (error) {
      const passes = error instanceof CodedError && error.code === "CLUSTER_UNAVAILABLE";
      if (passes && held !== undefined && clock.monotonic() < held.endMs) return held.token;
      throw error;
    }
  };
  return () => {
    if (held !== undefined && clock.monotonic() < held.renewMs) return Promise.resolve(held.token);
    asking ??= ask().finally(() => (asking = undefined));
    return asking;
  };
}

async function requestToken(
  kubernetes: Kubernetes,
  { namespace, name }: ServiceAccount,
  audience: string,
  lifeSeconds: number,
): Promise<{ readonly token: string; readonly seconds: number }> {
  const body = { spec: { audiences: [audience], expirationSeconds: lifeSeconds } };
  try {
    const { spec, status } = await kubernetes.request(`create a token of ServiceAccount ${namespace}/${name}`, () =>
      kubernetes.core.createNamespacedServiceAccountToken({ namespace, name, body }),
    );
    return { token: status?.token ?? "", seconds: spec.expirationSeconds ?? lifeSeconds };
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    throw new CodedError(error.code, `${error.message}${remedy(error, namespace, name)}`, error.details, error);
  }
}

function remedy({ code, details }: CodedError, namespace: string, name: string): string {
  if (code === "CLUSTER_NOT_FOUND")
    return `; namespace ${namespace} is not prepared for graft: an administrator applies deploy/k8s/overlays/namespace there; or name another ServiceAccount`;
  if (details["status"] === 403)
    return `; missing is the right to "create" on "serviceaccounts/token" with the name ${name} in namespace ${namespace}: an administrator gives it by a Role there`;
  return "";
}
