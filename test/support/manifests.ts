import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseAllDocuments, parse } from "yaml";

export const OVERLAYS = ["demo", "namespace", "production"] as const;

export interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[];
}

export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string; readonly key: string } };
  }[];
  readonly ports?: readonly { readonly hostPort?: number }[];
  readonly livenessProbe?: unknown;
  readonly readinessProbe?: unknown;
  readonly resources?: { readonly requests?: Readonly<Record<string, unknown>>; readonly limits?: Readonly<Record<string, unknown>> };
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly privileged?: boolean;
    readonly runAsUser?: number;
    readonly runAsNonRoot?: boolean;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  };
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface PodSpec {
  readonly automountServiceAccountToken?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type?: string };
    readonly sysctls?: unknown;
  };
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string; readonly configMap?: { readonly name: string } }[];
}

export interface PodTemplate {
  readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
  readonly spec: PodSpec;
}

export interface PolicyPeer {
  readonly namespaceSelector?: Selector;
  readonly podSelector?: Selector;
  readonly ipBlock?: unknown;
}

export interface PolicyRule {
  readonly from?: readonly PolicyPeer[];
  readonly to?: readonly PolicyPeer[];
  readonly ports?: readonly { readonly port: number; readonly endPort?: number; readonly protocol?: string }[];
}

/** An object of Kubernetes, with what graft's tests look at; `kind` says which of it there is. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
  /** Of a PodTemplate. */
  readonly template?: PodTemplate;
  /** Of a role. */
  readonly rules?: readonly {
    readonly apiGroups?: readonly string[];
    readonly resources?: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly nonResourceURLs?: readonly string[];
    readonly verbs: readonly string[];
  }[];
  readonly spec?: {
    /** Of a Deployment, StatefulSet or Job. */
    readonly template?: PodTemplate;
    /** Of a NetworkPolicy. */
    readonly podSelector?: Selector;
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly PolicyRule[];
    readonly egress?: readonly PolicyRule[];
    /** Of a Service. */
    readonly selector?: Readonly<Record<string, string>>;
  };
}

/** The objects in a text of YAML documents. */
export function parseManifests(text: string): Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

interface Kustomization {
  readonly resources?: readonly string[];
  readonly components?: readonly string[];
  readonly configMapGenerator?: readonly { readonly name: string; readonly files: readonly string[] }[];
}

/** The objects that a folder with a kustomization.yaml names, as they are in their files: nothing is patched, renamed or moved to a namespace. For where there is no kubectl. */
export function readUnpatched(folder: string): Manifest[] {
  const {
    resources = [],
    components = [],
    configMapGenerator = [],
  } = parse(readFileSync(join(folder, "kustomization.yaml"), "utf8")) as Kustomization;
  const named = [...resources, ...components].flatMap((path) =>
    path.endsWith(".yaml") ? parseManifests(readFileSync(join(folder, path), "utf8")) : readUnpatched(join(folder, path)),
  );
  const configMaps = configMapGenerator.map(({ name, files }) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name },
    data: Object.fromEntries(files.map((file) => [basename(file), readFileSync(join(folder, file), "utf8")])),
  }));
  return [...named, ...configMaps];
}

/** A pod template with what it stands in. */
export interface FoundTemplate {
  readonly where: string;
  readonly kind: string;
  readonly namespace: string;
  readonly template: PodTemplate;
}

/** Every pod template among the objects. */
export function podTemplatesOf(manifests: readonly Manifest[]): FoundTemplate[] {
  return manifests.flatMap(({ kind, metadata, template, spec }) => {
    const found = kind === "PodTemplate" ? template : ["Deployment", "StatefulSet", "Job"].includes(kind) ? spec?.template : undefined;
    return found === undefined ? [] : [{ where: `${kind} ${metadata.name}`, kind, namespace: metadata.namespace ?? "", template: found }];
  });
}

/** A config file of one of graft's programs, as it is mounted in a container. */
export interface MountedConfig {
  readonly where: string;
  /** Such as `extractor`: the service whose main.js is started. */
  readonly role: string;
  /** What else the program is told, such as the step of the bootstrap. */
  readonly step: string | undefined;
  readonly text: string;
  readonly graceMs: number;
}

/** The config file of every container that runs one of graft's services, by what the container is told and what is mounted there. */
export function mountedConfigs(manifests: readonly Manifest[]): MountedConfig[] {
  return podTemplatesOf(manifests).flatMap(({ where, template: { spec } }) =>
    [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ name, command = [], args = [], volumeMounts = [] }) => {
      const role = command.map((word) => /^dist\/services\/(\w+)\/main\.js$/.exec(word)?.[1]).find((found) => found !== undefined);
      if (role === undefined) return [];
      const file = args[args.indexOf("--config") + 1] ?? "";
      const mount = volumeMounts.find(({ mountPath }) => file.startsWith(`${mountPath}/`));
      const configMapName = spec.volumes?.find((volume) => volume.name === mount?.name)?.configMap?.name;
      const configMap = manifests.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === configMapName);
      const text = configMap?.data?.[basename(file)];
      if (text === undefined) throw new Error(`${where}, container ${name}: ${file} is in no ConfigMap among the manifests`);
      const step = args.indexOf("--config") > 0 ? args[0] : undefined;
      return [{ where: `${where}, ${file}`, role, step, text, graceMs: (spec.terminationGracePeriodSeconds ?? 30) * 1_000 }];
    }),
  );
}
