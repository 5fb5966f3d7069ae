import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { missingForControlPlane, startControlPlane } from "./cluster.js";

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
