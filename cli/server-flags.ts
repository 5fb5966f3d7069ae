import type { Command } from "commander";

/** Which cluster, and as who. Any of them makes `graft` ask Kubernetes for the coordinator, as `kubectl graft` always does. */
export interface KubernetesFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly systemNamespace?: string;
  readonly serviceAccount?: string;
}

export interface ServerFlags extends KubernetesFlags {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly plaintext?: boolean;
  readonly json?: boolean;
}

/** Flags of every command that speaks to a coordinator; `kubectl graft` has other defaults. */
export function addServerFlags(command: Command, isPlugin: boolean): Command {
  return command
    .option(
      "--server <host:port>",
      `the coordinator (default: $GRAFT_SERVER, ${isPlugin ? "or a port-forward to the pod that leads" : "a cluster on this machine, or 127.0.0.1:7070"})`,
    )
    .option(
      "--token-file <file>",
      `file with the bearer token, read again whenever it changes (default: $GRAFT_TOKEN${isPlugin ? ", or one of the job's namespace by TokenRequest" : ""})`,
    )
    .option("--ca <file>", "PEM file of the authority that signed the server's certificate; connects with TLS")
    .option("--certificate <file>", "PEM file of your own certificate, where the server asks for one; connects with TLS")
    .option("--key <file>", "PEM file; belongs to --certificate")
    .option("--plaintext", "no TLS, also to a server that is not this machine")
    .option("--kubeconfig <file>", "of the cluster that graft runs on (default: $KUBECONFIG or ~/.kube/config)")
    .option("--context <name>", "of the kubeconfig (default: its current one)")
    .option("-n, --namespace <name>", "of the job (default: that of the context)")
    .option("--system-namespace <name>", "where the coordinator runs (default: graft-system, else graft)")
    .option("--service-account <name>", "of the job's namespace, whose token is used (default: graft-client)")
    .option("--json", "JSON instead of text");
}
