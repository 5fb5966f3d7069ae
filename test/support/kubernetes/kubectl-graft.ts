import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { parse, stringify } from "yaml";
import type { TestCluster } from "./cluster.js";

const plugin = resolve(import.meta.dirname, "../../..", "bin/kubectl-graft.cjs").replace(/dist.bin/, "bin");

/** `kubectl graft ARGS` under way. */
export interface KubectlGraft {
  readonly child: ChildProcess;
  /** What it has printed so far. */
  readonly printed: () => { readonly stdout: string; readonly stderr: string };
  /** Its exit code. */
  readonly ended: Promise<number | null>;
}

/** Lets kubectl find its plug-in in a folder below `folder`, and returns what starts it for a kubeconfig (default: the administrator's). */
export function kubectlGraft(cluster: TestCluster, folder: string): (args: readonly string[], kubeconfig?: string) => KubectlGraft {
  const plugins = join(folder, "plugins");
  mkdirSync(plugins);
  symlinkSync(plugin, join(plugins, "kubectl-graft"));
  return (args, kubeconfig = cluster.kubeconfig) => {
    const env = {
      ...process.env,
      PATH: [plugins, process.env["PATH"]].join(delimiter),
      KUBECONFIG: kubeconfig,
      KUBECACHEDIR: join(folder, "kubectl-cache"),
      GRAFT_SERVER: undefined,
      GRAFT_TOKEN: undefined,
    };
    const child = spawn(join(cluster.programs, "kubectl"), ["graft", ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const ended = once(child, "close").then(([code]) => code as number | null);
    return { child, printed: () => ({ stdout, stderr }), ended };
  };
}

/** What a Role of a namespace allows, as flags of `kubectl create role`. */
export type Right = readonly [namespace: string, ...flags: string[]];

/** A kubeconfig of a new ServiceAccount with these rights and no others, whose context has the namespace team-a. */
export async function kubeconfigWith(
  { kubectl, kubeconfig }: TestCluster,
  folder: string,
  name: string,
  rights: readonly Right[],
): Promise<string> {
  await kubectl(["create", "serviceaccount", name, "-n", "default"]);
  for (const [index, [namespace, ...flags]] of rights.entries()) {
    const role = `${name}-${String(index)}`;
    await kubectl(["create", "role", role, "-n", namespace, ...flags]);
    await kubectl(["create", "rolebinding", role, "-n", namespace, `--role=${role}`, `--serviceaccount=default:${name}`]);
  }
  const token = (await kubectl(["create", "token", name, "-n", "default"])).trim();
  const config = parse(readFileSync(kubeconfig, "utf8")) as {
    users: { name: string; user: unknown }[];
    contexts: { context: { namespace?: string } }[];
  };
  config.users = config.users.map((user) => ({ ...user, user: { token } }));
  for (const { context } of config.contexts) context.namespace = "team-a";
  const file = join(folder, `${name}.kubeconfig`);
  writeFileSync(file, stringify(config));
  return file;
}
