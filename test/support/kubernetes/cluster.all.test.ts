import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { missingForControlPlane, missingForNode, startControlPlane, startNode } from "./cluster.js";
import { makeImage } from "./images.js";
import { kubernetesPrograms } from "./programs.js";

/** Ids of the processes that have `folder` among their arguments. */
function processesOf(folder: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
    } catch {
      return false;
    }
  });
}

const noControlPlane = missingForControlPlane();

test.skipIf(noControlPlane !== undefined)(`a control plane makes pods, and leaves nothing (${noControlPlane ?? "level 1"})`, async () => {
  const cluster = await startControlPlane();
  const folder = cluster.kubeconfig.replace(/\/kubeconfig$/, "");
  try {
    expect(JSON.parse(await cluster.kubectl(["version", "-o", "json"]))).toMatchObject({ serverVersion: { major: "1", minor: "34" } });
    await cluster.kubectl(["create", "job", "sleep", "--image", "localhost/sleep:1"]);
    await cluster.kubectl(["wait", "--for=create", "pod", "-l", "job-name=sleep", "--timeout=30s"]);
    const pods = await cluster.kubectl(["get", "pods", "-o", "jsonpath={.items[*].status.phase}"]);
    expect(pods).toBe("Pending");
    await expect(cluster.kubectl(["get", "pod", "nobody"])).rejects.toThrow('pods "nobody" not found');
    expect(processesOf(folder).length).toBeGreaterThanOrEqual(5);
  } finally {
    await cluster.stop();
  }
  expect(processesOf(folder)).toEqual([]);
  expect(existsSync(folder)).toBe(false);
});

test.skipIf(noControlPlane !== undefined)(
  `a cluster ends with whoever wanted it, killed or not (${noControlPlane ?? "level 1"})`,
  async () => {
    const cluster = await startControlPlane();
    const folder = cluster.kubeconfig.replace(/\/kubeconfig$/, "");
    const [script] = processesOf(`cluster.sh\0${folder}`);
    expect(script).toBeDefined();
    process.kill(Number(script), "SIGKILL");
    await vi.waitFor(() => expect(processesOf(folder)).toEqual([]), { timeout: 10_000 });
    await cluster.stop();
  },
);

const noNode = missingForNode();

test.skipIf(noNode !== undefined)(
  `pods run on a node, reach Services, names and this machine, and nothing stays (${noNode ?? "level 2"})`,
  async () => {
    const work = mkdtempSync(join(tmpdir(), "graft-node-test-"));
    const programs = kubernetesPrograms();
    mkdirSync(join(work, "root"));
    copyFileSync(join(programs, "kubectl"), join(work, "root/kubectl"));
    const image = join(work, "kubectl.tar");
    await makeImage("localhost/kubectl:1", join(work, "root"), image, ["/kubectl"]);
    const node = await startNode([image]);
    const folder = node.kubeconfig.replace(/\/kubeconfig$/, "");
    const [script = ""] = processesOf(`cluster.sh\0${folder}`);
    const link = `graft${node.hostAddress.split(".")[2] ?? ""}`;
    const found = (): ReturnType<typeof traces> => traces(link, `graft-kubernetes-${script}`, folder);
    const outside = createServer((_, response) => response.end("from outside\n"));
    try {
      outside.listen(0, node.hostAddress);
      await once(outside, "listening");
      const { port } = outside.address() as AddressInfo;

      // A server behind a Service, which only starts with its token, as nobody, on a root that it cannot write.
      await node.kubectl(["apply", "-f", "-"], pod("proxy", ["proxy", "--address=0.0.0.0", "--accept-hosts=.*", "--port=8001"]));
      await node.kubectl(["expose", "pod", "proxy", "--port=8001"]);
      await node.kubectl(["wait", "--for=condition=Ready", "pod/proxy", "--timeout=60s"]);
      const clusterIp = await node.kubectl(["get", "service", "proxy", "-o", "jsonpath={.spec.clusterIP}"]);
      const answer = await vi.waitFor(async () => fetch(`http://${clusterIp}:8001/version`), { timeout: 10_000, interval: 100 });
      expect(await answer.json()).toMatchObject({ gitVersion: expect.stringMatching(/^v1\.34\./) as unknown });

      const calls = {
        name: ["get", "--raw", "/version", "--server=http://proxy.default.svc.cluster.local:8001"],
        host: ["get", "--raw", "/", `--server=http://${node.hostAddress}:${port}`],
        away: ["get", "--raw", "/", "--server=http://192.0.2.1:80", "--request-timeout=20s"],
      };
      for (const [name, args] of Object.entries(calls)) await node.kubectl(["apply", "-f", "-"], pod(name, args));
      const ended = ["wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated}", "--timeout=60s"];
      for (const name of Object.keys(calls)) await node.kubectl([...ended, `pod/${name}`]);
      expect(await node.kubectl(["logs", "name"])).toContain('"gitVersion": "v1.34.');
      expect(await node.kubectl(["logs", "host"])).toBe("from outside\n");
      expect(await node.kubectl(["logs", "away"])).toMatch(/no route to host|network is unreachable/);
      expect(await node.kubectl(["exec", "proxy", "--", "/kubectl", "auth", "whoami"])).toContain("system:serviceaccount:default:default");

      await makeImage("localhost/kubectl:2", join(work, "root"), image, ["/kubectl"]);
      await node.importImage(image);
      expect(await node.runInNode(["ctr", "-n", "k8s.io", "images", "ls", "-q"])).toContain("localhost/kubectl:2\n");
      expect(found()).toMatchObject({ links: [link], cgroups: expect.arrayContaining([expect.any(String)]) as unknown, mounts: [] });
    } finally {
      outside.close();
      await node.stop();
      rmSync(work, { recursive: true, force: true });
    }
    expect(found()).toEqual({ links: [], cgroups: [], mounts: [], processes: [] });
  },
);

/** A pod of the image localhost/kubectl:1 under the restricted Pod Security Standard. */
function pod(name: string, args: readonly string[]): string {
  const container = {
    name: "kubectl",
    image: "localhost/kubectl:1",
    args: [...args, "--cache-dir=/tmp/cache"],
    resources: { limits: { memory: "256Mi", cpu: "500m" } },
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
    volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
  };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name } },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      securityContext: { runAsNonRoot: true, runAsUser: 10_001, runAsGroup: 10_001, seccompProfile: { type: "RuntimeDefault" } },
      containers: [container],
      volumes: [{ name: "tmp", emptyDir: {} }],
    },
  });
}

/** What a node has on this machine: its network link, its cgroups, mounts and processes. */
function traces(
  link: string,
  cgroup: string,
  folder: string,
): Readonly<Record<"links" | "cgroups" | "mounts" | "processes", readonly string[]>> {
  const hierarchies = ["/sys/fs/cgroup", ...readdirSync("/sys/fs/cgroup").map((name) => join("/sys/fs/cgroup", name))];
  return {
    links: readdirSync("/sys/class/net").filter((name) => name === link),
    cgroups: hierarchies.map((hierarchy) => join(hierarchy, cgroup)).filter((path) => existsSync(path)),
    mounts: readFileSync("/proc/mounts", "utf8")
      .split("\n")
      .filter((line) => line.includes(folder) || line.includes("/run/graft")),
    processes: processesOf(folder),
  };
}
