import type { Command } from "commander";

export interface ServerFlags {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly plaintext?: boolean;
  readonly json?: boolean;
}

/** Flags of every command that speaks to a coordinator. */
export function addServerFlags(command: Command): Command {
  return command
    .option("--server <host:port>", "the coordinator (default: $GRAFT_SERVER, a cluster on this machine, or 127.0.0.1:7070)")
    .option("--token-file <file>", "file with the bearer token, read again whenever it changes (default: $GRAFT_TOKEN)")
    .option("--ca <file>", "PEM file of the authority that signed the server's certificate; connects with TLS")
    .option("--certificate <file>", "PEM file of your own certificate, where the server asks for one; connects with TLS")
    .option("--key <file>", "PEM file; belongs to --certificate")
    .option("--plaintext", "no TLS, also to a server that is not this machine")
    .option("--json", "JSON instead of text");
}
