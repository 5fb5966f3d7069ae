import { basename } from "node:path";

/** What a user types to start this program: `kubectl graft` where kubectl found it as its plug-in `kubectl-graft`. */
export function programNameOf(script: string | undefined): "graft" | "kubectl graft" {
  return /^kubectl-graft(\.|$)/.test(basename(script ?? "")) ? "kubectl graft" : "graft";
}

export const programName = programNameOf(process.argv[1]);

/** A command to type next, about the same namespace as this one. */
export function nextCommand(command: string, job: string, flags: { readonly namespace?: string }): string {
  return [programName, command, job, ...(flags.namespace === undefined ? [] : ["-n", flags.namespace])].join(" ");
}
