import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

const repository = join(import.meta.dirname, "../../..");
const cache = join(repository, ".cache/kubernetes");

/** What Kubernetes consists of here; `npm run kubernetes` builds it. */
const names = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubectl",
  "kubelet",
  "kube-proxy",
  "coredns",
  "pause.tar",
];

/** What the scripts call, with the Debian package that has it. */
const controlPlaneTools = { bash: "bash", openssl: "openssl", setpriv: "util-linux" };
const nodeTools = {
  ...controlPlaneTools,
  containerd: "containerd",
  ctr: "containerd",
  runc: "runc",
  "/usr/lib/cni/ptp": "containernetworking-plugins",
  nft: "nftables",
  ip: "iproute2",
  nsenter: "util-linux",
  unshare: "util-linux",
};

/** Why no control plane can be started on this machine, and what to do; undefined where it can. For the name of a test that is skipped without. */
export function missingForControlPlane(): string | undefined {
  return missingTools(controlPlaneTools) ?? missingPrograms();
}

/** Why no node can be started on this machine, and what to do; undefined where it can. */
export function missingForNode(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, for namespaces, mounts and containers";
  return missingTools(nodeTools) ?? missingRights() ?? missingPrograms();
}

let built: string | undefined;

/** Folder with the programs: the one that GRAFT_TEST_KUBERNETES names, else that of `npm run kubernetes`, which builds them where they are not there (some minutes). */
export function kubernetesPrograms(): string {
  const given = process.env["GRAFT_TEST_KUBERNETES"];
  if (given !== undefined) return given;
  built ??= build();
  return built;
}

function build(): string {
  // Without Go nobody can tell whether they are current, nor make them so.
  if (!hasGo() && existsSync(join(cache, "stamp"))) return cache;
  const { status, stderr } = spawnSync(process.execPath, [join(repository, "scripts/kubernetes.mjs")], {
    encoding: "utf8",
    stdio: ["ignore", "inherit", "pipe"],
  });
  if (status !== 0) throw new Error(`the programs of Kubernetes could not be built:\n${stderr}`);
  return cache;
}

function hasGo(): boolean {
  return spawnSync("go", ["version"], { stdio: "ignore" }).status === 0;
}

function missingTools(tools: Readonly<Record<string, string>>): string | undefined {
  if (process.platform !== "linux") return `needs Linux, this is ${process.platform}`;
  // Debian keeps some in folders that only root has on its PATH.
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  const missing = Object.entries(tools).filter(
    ([tool]) => !folders.some((folder) => existsSync(tool.startsWith("/") ? tool : join(folder, tool))),
  );
  if (missing.length === 0) return undefined;
  const packages = [...new Set(missing.map(([, debianPackage]) => debianPackage))];
  return `needs ${missing.map(([tool]) => tool).join(", ")}: apt-get install --no-install-recommends ${packages.join(" ")}`;
}

/** Root in a container mostly may not. */
function missingRights(): string | undefined {
  const { status, stderr } = spawnSync("unshare", ["--mount", "--net", "--pid", "--fork", "true"], { encoding: "utf8" });
  return status === 0 ? undefined : `needs the right to make namespaces (a privileged container, or a machine): ${stderr.trim()}`;
}

function missingPrograms(): string | undefined {
  const given = process.env["GRAFT_TEST_KUBERNETES"];
  if (given !== undefined) {
    const missing = names.filter((name) => !existsSync(join(given, name)));
    return missing.length === 0 ? undefined : `GRAFT_TEST_KUBERNETES names ${given}, which has no ${missing.join(", ")}`;
  }
  return existsSync(join(cache, "stamp")) || hasGo()
    ? undefined
    : "needs Go 1.25 or later to build Kubernetes (https://go.dev/dl), or GRAFT_TEST_KUBERNETES, a folder that holds its programs";
}
