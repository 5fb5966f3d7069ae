import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { missingForControlPlane, missingForNode } from "./programs.js";

afterEach(() => vi.unstubAllEnvs());

test.runIf(process.platform === "linux")("what is missing is named, with the packages that have it", () => {
  vi.stubEnv("PATH", "/nowhere");
  expect(missingForControlPlane()).toMatch(
    /^needs bash, openssl, setpriv: apt-get install --no-install-recommends bash openssl util-linux$/,
  );
  vi.spyOn(process, "getuid").mockReturnValueOnce(1000);
  expect(missingForNode()).toBe("needs root, for namespaces, mounts and containers");
});

test.runIf(process.platform === "linux")("a folder without the programs is named", () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-programs-test-"));
  const tools = mkdtempSync(join(tmpdir(), "graft-tools-test-"));
  try {
    for (const tool of ["bash", "openssl", "setpriv"]) writeFileSync(join(tools, tool), "");
    vi.stubEnv("PATH", tools);
    writeFileSync(join(folder, "etcd"), "");
    vi.stubEnv("GRAFT_TEST_KUBERNETES", folder);
    expect(missingForControlPlane()).toMatch(`GRAFT_TEST_KUBERNETES names ${folder}, which has no kube-apiserver, kube-controller-manager`);
  } finally {
    rmSync(folder, { recursive: true });
    rmSync(tools, { recursive: true });
  }
});
