import { CodedError } from "../../domain/errors.js";
import { programName } from "../program-name.js";
import { usesKubernetes } from "../server-access.js";
import { events } from "./jobs.js";
import type { LogFlags } from "./pod-logs.js";

/** `graft logs NAME`: what happened to a job; on Kubernetes what its pods wrote, unless `--events` is given. */
export async function logs(name: string, flags: LogFlags): Promise<void> {
  const podFlags = (["role", "follow", "tail", "previous"] as const).filter((flag) => flags[flag] !== undefined);
  const onKubernetes = usesKubernetes(flags, programName);
  if (onKubernetes && flags.events !== true) return (await import("./pod-logs.js")).podLogs(name, flags);
  const [first] = podFlags;
  if (first !== undefined)
    throw new CodedError(
      "USAGE_INVALID",
      `--${first} is about the logs of pods: ${onKubernetes ? "leave out --events" : "name the cluster with --kubeconfig, --context or -n, or call kubectl graft logs"}`,
    );
  await events(name, flags);
}
