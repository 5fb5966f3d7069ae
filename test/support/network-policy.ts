import type { Manifest, PolicyPeer, PolicyRule, Selector } from "./manifests.js";

/** A pod, or with `namespace: undefined` something that no selector finds: the API server, a store outside. */
export interface Endpoint {
  readonly namespace: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Whether NetworkPolicies let `from` open a TCP connection to a port of `to`, by the rules of networking.k8s.io/v1: a pod that no policy of a direction selects is open in it, one that some select takes what any of
 * them allows. Peers are selectors only; `ipBlock` is not understood. `namespaceLabels` are those of namespaces besides kubernetes.io/metadata.name.
 */
export function mayConnect(
  manifests: readonly Manifest[],
  from: Endpoint,
  to: Endpoint,
  port: number,
  namespaceLabels: Readonly<Record<string, Readonly<Record<string, string>>>> = {},
): boolean {
  const policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
  const allows = (direction: "Ingress" | "Egress", own: Endpoint, other: Endpoint): boolean => {
    const selecting = policies.filter(
      ({ metadata, spec }) =>
        own.namespace !== undefined &&
        metadata.namespace === own.namespace &&
        spec?.policyTypes?.includes(direction) === true &&
        selects(spec.podSelector ?? {}, own.labels),
    );
    const rules = selecting.flatMap(({ spec }) =>
      direction === "Ingress"
        ? (spec?.ingress ?? []).map(({ from: peers, ports }) => ({ peers, ports }))
        : (spec?.egress ?? []).map(({ to: peers, ports }) => ({ peers, ports })),
    );
    return (
      selecting.length === 0 ||
      rules.some(
        ({ peers, ports }) =>
          (peers === undefined || peers.some((peer) => isPeer(peer, own.namespace, other, namespaceLabels))) &&
          (ports === undefined || ports.some((each) => isPort(each, port))),
      )
    );
  };
  return allows("Egress", from, to) && allows("Ingress", to, from);
}

function isPeer(
  { namespaceSelector, podSelector, ipBlock }: PolicyPeer,
  ownNamespace: string | undefined,
  { namespace, labels }: Endpoint,
  namespaceLabels: Readonly<Record<string, Readonly<Record<string, string>>>>,
): boolean {
  if (ipBlock !== undefined) throw new Error("ipBlock is not understood here");
  if (namespace === undefined) return false;
  const ofNamespace = { "kubernetes.io/metadata.name": namespace, ...namespaceLabels[namespace] };
  const isThere = namespaceSelector === undefined ? namespace === ownNamespace : selects(namespaceSelector, ofNamespace);
  return isThere && (podSelector === undefined || selects(podSelector, labels));
}

function isPort({ port, endPort, protocol = "TCP" }: NonNullable<PolicyRule["ports"]>[number], wanted: number): boolean {
  return protocol === "TCP" && endPort === undefined && port === wanted;
}

/** Whether a selector finds these labels. */
export function selects({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Readonly<Record<string, string>>): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      if (operator !== "In") throw new Error(`the operator ${operator} is not understood here`);
      return values.includes(labels[key] ?? "");
    })
  );
}
