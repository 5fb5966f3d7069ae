import { type Container, type FoundTemplate, type Manifest, podTemplatesOf } from "./manifests.js";

/** Volumes of the restricted Pod Security Standard. */
const volumeKinds = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
/** The only pods with a token of the API server in every container. */
const automounting = new Set(["Deployment graft-coordinator"]);
/** Rights by which somebody gets others' rights, and what runs in or comes out of others' pods. */
const escalations = new Set(["escalate", "bind", "impersonate"]);
const intrusions = new Set(["pods/exec", "pods/attach", "pods/ephemeralcontainers", "pods/proxy", "services/proxy", "nodes/proxy"]);

/** What in the manifests is against graft's rules: each offence as one line, with the object's name. */
export function offencesOf(manifests: readonly Manifest[], version: string): string[] {
  return [
    ...podTemplatesOf(manifests).flatMap((found) => podOffences(found, version)),
    ...manifests.flatMap((manifest) => [...roleOffences(manifest), ...namespaceOffences(manifest), ...secretOffences(manifest)]),
  ];
}

function podOffences({ where, kind, template: { spec, metadata } }: FoundTemplate, version: string): string[] {
  const { securityContext } = spec;
  const volumes = (spec.volumes ?? []).flatMap((volume) => Object.keys(volume).filter((key) => key !== "name"));
  const problems = [
    ...(spec.automountServiceAccountToken === automounting.has(where) ? [] : ["automountServiceAccountToken"]),
    ...(securityContext?.runAsNonRoot === true ? [] : ["runAsNonRoot"]),
    ...((securityContext?.runAsUser ?? 0) > 0 ? [] : ["runAsUser"]),
    ...(securityContext?.seccompProfile?.type === "RuntimeDefault" ? [] : ["seccompProfile"]),
    ...(securityContext?.sysctls === undefined ? [] : ["sysctls"]),
    ...(["hostNetwork", "hostPID", "hostIPC"] as const).filter((field) => spec[field] === true),
    ...volumes.filter((name) => !volumeKinds.includes(name)).map((name) => `volume ${name}`),
    ...(metadata?.labels?.["app.kubernetes.io/part-of"] === "graft" ? [] : ["label app.kubernetes.io/part-of"]),
  ].map((problem) => `${where}: ${problem}`);
  const isLongRunning = kind !== "Job";
  const containers = [...(spec.initContainers ?? []).map((container) => ({ container, probed: false }))].concat(
    spec.containers.map((container) => ({ container, probed: isLongRunning })),
  );
  return [
    ...problems,
    ...containers.flatMap(({ container, probed }) =>
      containerOffences(container, probed, version).map((problem) => `${where}, ${container.name}: ${problem}`),
    ),
  ];
}

function containerOffences(container: Container, probed: boolean, version: string): string[] {
  const { securityContext, resources, image = "" } = container;
  const [, name = "", tag = ""] = /^(.+?)(?::([^:/]+))?(?:@sha256:[0-9a-f]{64})?$/.exec(image) ?? [];
  return [
    ...(securityContext?.allowPrivilegeEscalation === false ? [] : ["allowPrivilegeEscalation"]),
    ...(securityContext?.readOnlyRootFilesystem === true ? [] : ["readOnlyRootFilesystem"]),
    ...(securityContext?.privileged === undefined ? [] : ["privileged"]),
    ...(securityContext?.runAsUser === undefined && securityContext?.runAsNonRoot === undefined ? [] : ["another user than the pod's"]),
    ...(securityContext?.capabilities?.drop?.includes("ALL") === true && securityContext.capabilities.add === undefined
      ? []
      : ["capabilities"]),
    ...(tag !== "" && tag !== "latest" ? [] : [`image ${image} without a version`]),
    ...(/(^|\/)graft[-/]/.test(name) && tag !== version ? [`image ${image} of another version than ${version}`] : []),
    ...["cpu", "memory"].filter((each) => resources?.requests?.[each] === undefined).map((each) => `requests ${each}`),
    ...(resources?.limits?.["memory"] === undefined ? ["limits memory"] : []),
    ...(probed && container.livenessProbe === undefined ? ["livenessProbe"] : []),
    ...(probed && container.readinessProbe === undefined ? ["readinessProbe"] : []),
    ...(container.ports ?? []).filter(({ hostPort }) => hostPort !== undefined).map(() => "hostPort"),
  ];
}

function roleOffences({ kind, metadata, rules = [] }: Manifest): string[] {
  if (kind !== "Role" && kind !== "ClusterRole") return [];
  return rules.flatMap((rule) => ruleOffences(rule).map((problem) => `${kind} ${metadata.name}: ${problem}`));
}

function ruleOffences({
  apiGroups = [],
  resources = [],
  resourceNames = [],
  nonResourceURLs = [],
  verbs,
}: NonNullable<Manifest["rules"]>[number]): string[] {
  const all = [...apiGroups, ...resources, ...resourceNames, ...nonResourceURLs, ...verbs];
  return [
    ...(all.some((each) => each.includes("*")) ? ["a wildcard"] : []),
    ...(resources.includes("secrets") ? verbs.filter((verb) => verb !== "get" && verb !== "create").map((verb) => `${verb} secrets`) : []),
    ...verbs.filter((verb) => escalations.has(verb)),
    ...resources.filter((resource) => intrusions.has(resource)),
    ...(apiGroups.includes("rbac.authorization.k8s.io") ? ["rights on rights"] : []),
  ];
}

function namespaceOffences({ kind, metadata }: Manifest): string[] {
  if (kind !== "Namespace") return [];
  const level = metadata.labels?.["pod-security.kubernetes.io/enforce"];
  return level === "restricted" ? [] : [`Namespace ${metadata.name}: pod-security.kubernetes.io/enforce is ${String(level)}`];
}

/** Secrets are made by people, or by the bootstrap. */
function secretOffences({ kind, metadata }: Manifest): string[] {
  return kind === "Secret" ? [`Secret ${metadata.name} is written down`] : [];
}
