import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, openSync, closeSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { kubernetesPrograms } from "./programs.js";

export { missingForControlPlane, missingForNode } from "./programs.js";

/** A new, empty Kubernetes: API server, etcd, controllers and scheduler, for real. Pods are made and stay Pending. */
export interface TestCluster {
  /** Of the API server, such as https://127.0.0.1:20000. */
  readonly server: string;
  /** File of an administrator. */
  readonly kubeconfig: string;
  /** Folder with kubectl. */
  readonly programs: string;
  /** Where the logs of its processes lie until it is stopped. */
  readonly logs: string;
  /** What `kubectl ARGS` prints, with `input` on its standard input. Rejects with what it prints to standard error where it fails. */
  readonly kubectl: (args: readonly string[], input?: string) => Promise<string>;
  /** Ends all of it and removes its folder. It ends, too, when this process does. */
  readonly stop: () => Promise<void>;
}

/** A cluster with one node, on which pods run. Tests reach the addresses of pods and Services; names outside of the cluster, and addresses, are refused to pods. */
export interface TestNode extends TestCluster {
  /** The address by which pods reach a server that a test opens there. */
  readonly hostAddress: string;
  /** Brings the images of a tar (docker or OCI archive) onto the node; pods then name them. */
  readonly importImage: (tar: string) => Promise<void>;
  /** What a command prints that runs in the node's namespaces, such as `ps -ef`. */
  readonly runInNode: (command: readonly string[], input?: string) => Promise<string>;
}

/** Some 4 seconds and 500 MB of memory; needs no root. `missingForControlPlane` says whether this machine can. */
export async function startControlPlane(): Promise<TestCluster> {
  return (await startCluster("control-plane", [])).cluster;
}

/** Some 8 seconds and 750 MB of memory; `images` are tars that are there from the start. `missingForNode` says whether this machine can. */
export async function startNode(images: readonly string[] = []): Promise<TestNode> {
  const { cluster, ready } = await startCluster("node", images);
  const { hostAddress, init } = ready;
  const inNode = (command: readonly string[], input?: string | number): Promise<string> =>
    run("nsenter", ["--target", String(init), "--mount", "--net", "--pid", "--uts", "--ipc", "--", ...command], {}, input);
  return {
    ...cluster,
    hostAddress: String(hostAddress),
    runInNode: inNode,
    importImage: async (tar) => {
      const file = openSync(tar, "r");
      try {
        await inNode(["ctr", "-n", "k8s.io", "images", "import", "-"], file);
      } finally {
        closeSync(file);
      }
    },
  };
}

type Ready = Readonly<Record<string, string | number>>;

async function startCluster(kind: "control-plane" | "node", images: readonly string[]): Promise<{ cluster: TestCluster; ready: Ready }> {
  const programs = kubernetesPrograms();
  const folder = mkdtempSync(join(tmpdir(), "graft-kubernetes-"));
  const script = [join(import.meta.dirname, "cluster.sh"), folder, programs, kind, ...images];
  // Detached: an interrupt from the keyboard is for the test, whose end then ends the cluster.
  const child = spawn("bash", script, { detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const ended = once(child, "close");
  child.stdin.on("error", () => undefined); // it ended by itself: its exit code says why
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const ready = await firstLine(child);
    const kubeconfig = join(folder, "kubeconfig");
    const environment = { KUBECONFIG: kubeconfig, KUBECACHEDIR: join(folder, "kubectl-cache") };
    const kubectl: TestCluster["kubectl"] = (args, input) => run(join(programs, "kubectl"), args, environment, input);
    return { ready, cluster: { server: String(ready["server"]), kubeconfig, programs, logs: join(folder, "log"), kubectl, stop } };
  } catch (error) {
    await stop();
    throw error;
  }
}

function firstLine(child: ChildProcess): Promise<Ready> {
  const messages: string[] = [];
  child.stderr?.setEncoding("utf8").on("data", (text: string) => messages.push(text));
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout! }).once("line", (line) => resolve(JSON.parse(line) as Ready));
    child.once("error", reject).once("close", (code) => reject(new Error(`no cluster (exit code ${String(code)}):\n${messages.join("")}`)));
  });
}

async function run(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
  /** Text, or a file that is open. */
  input?: string | number,
): Promise<string> {
  const stdin = typeof input === "number" ? input : input === undefined ? "ignore" : "pipe";
  const child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: [stdin, "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  // A program that does not read to the end says why by its exit code.
  child.stdin?.on("error", () => undefined).end(input);
  const [exitCode] = (await once(child, "close")) as [number | null];
  if (exitCode !== 0) throw new Error(`${[program, ...args].join(" ")} ended with ${String(exitCode)}:\n${stderr || stdout}`);
  return stdout;
}
