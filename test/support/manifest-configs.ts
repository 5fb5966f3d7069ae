import { basename } from "node:path";
import { parse } from "yaml";
import type { z } from "zod";
import { LAST_CALLS_MS } from "../../platform/service-process/service-process.js";
import { contentConfig, secretsConfig, waitConfig } from "../../services/bootstrap/config.js";
import { coordinatorConfig } from "../../services/coordinator/config.js";
import { extractorConfig } from "../../services/extractor/config.js";
import { trainerConfig } from "../../services/trainer/config.js";
import { type Manifest, podTemplatesOf } from "./manifests.js";

/** By service and step. */
const schemas: Readonly<Record<string, z.ZodObject>> = {
  coordinator: coordinatorConfig,
  extractor: extractorConfig,
  trainer: trainerConfig,
  "bootstrap secrets": secretsConfig,
  "bootstrap content": contentConfig,
  "bootstrap wait": waitConfig,
};

/** What is wrong with the config files that the pods of the manifests mount, each problem as one line: against the schema, or too little time to stop. `files` are those that were looked at. */
export function configProblems(manifests: readonly Manifest[]): {
  readonly files: readonly string[];
  readonly problems: readonly string[];
} {
  const configs = mountedConfigs(manifests);
  const problems = configs.flatMap(({ where, role, step, text, graceMs }) => {
    const config = parse(text) as { readonly drainMs?: number; readonly stopMs?: number };
    const stopMs = (config.drainMs ?? config.stopMs ?? 0) + LAST_CALLS_MS;
    return [
      ...schemaProblems(schemas[step === undefined ? role : `${role} ${step}`], config),
      ...(step === undefined && config.drainMs === undefined && config.stopMs === undefined
        ? ["drainMs or stopMs is not written down"]
        : []),
      ...(stopMs < graceMs ? [] : [`${stopMs} ms to stop are not less than terminationGracePeriodSeconds, ${graceMs} ms`]),
    ].map((problem) => `${where}: ${problem}`);
  });
  return { files: configs.map(({ where }) => where), problems };
}

function schemaProblems(schema: z.ZodObject | undefined, config: unknown): string[] {
  if (schema === undefined) return ["no schema is known for it"];
  return (schema.safeParse(config).error?.issues ?? []).map(({ path, message }) => `${path.join(".")}: ${message}`);
}

/** A config file of one of graft's programs, as it is mounted in a container. */
interface MountedConfig {
  readonly where: string;
  /** Such as `extractor`: the service whose main.js is started. */
  readonly role: string;
  /** What else the program is told, such as the step of the bootstrap. */
  readonly step: string | undefined;
  readonly text: string;
  readonly graceMs: number;
}

/** The config file of every container that runs one of graft's services, by what the container is told and what is mounted there. */
function mountedConfigs(manifests: readonly Manifest[]): MountedConfig[] {
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
