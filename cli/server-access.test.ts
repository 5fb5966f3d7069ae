import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { kubeconfigFiles } from "./config.js";
import { nextCommand, programNameOf } from "./program-name.js";
import { chooseServer, type Surroundings } from "./server-access.js";

afterEach(() => vi.unstubAllEnvs());

const graft: Surroundings = { program: "graft", address: undefined, hasToken: false };
const plugin: Surroundings = { ...graft, program: "kubectl graft" };
const at = "graft.example:7070";

test("the name under which the program was started says whether it is kubectl's plug-in", () => {
  const names = [
    "/usr/bin/kubectl-graft",
    "/x/bin/kubectl-graft.cjs",
    "C:\\x\\graft.cjs",
    "/usr/bin/graft",
    "/kubectl-graft/cli/main.js",
    undefined,
  ];
  expect(names.map(programNameOf)).toEqual(["kubectl graft", "kubectl graft", "graft", "graft", "graft", "graft"]);
  expect(nextCommand("watch", "flowers", { namespace: "team-a" })).toBe("graft watch flowers -n team-a");
});

test("graft speaks to an address, unless a flag is about Kubernetes", () => {
  expect(chooseServer({}, graft)).toEqual({ via: "address", address: undefined, token: "none" });
  expect(chooseServer({ json: true, plaintext: true }, { ...graft, address: at, hasToken: true })).toEqual({
    via: "address",
    address: at,
    token: "given",
  });
  for (const flags of [{ kubeconfig: "f" }, { context: "c" }, { namespace: "n" }, { systemNamespace: "s" }, { serviceAccount: "a" }])
    expect(chooseServer(flags, graft)).toEqual({ via: "port-forward", token: "requested" });
});

test("kubectl graft forwards a port and asks for a token, each unless it is given", () => {
  expect(chooseServer({}, plugin)).toEqual({ via: "port-forward", token: "requested" });
  expect(chooseServer({}, { ...plugin, hasToken: true })).toEqual({ via: "port-forward", token: "given" });
  expect(chooseServer({}, { ...plugin, address: at })).toEqual({ via: "address on Kubernetes", address: at, token: "requested" });
  expect(chooseServer({ namespace: "n" }, { ...plugin, address: at, hasToken: true })).toEqual({
    via: "address on Kubernetes",
    address: at,
    token: "given",
  });
});

test("the kubeconfig is the flag's, else that of $KUBECONFIG, else the one in the home folder, else a pod has none", () => {
  const home = mkdtempSync(join(tmpdir(), "graft-home-"));
  try {
    for (const [name, value] of Object.entries({ HOME: home, USERPROFILE: home, KUBECONFIG: "", KUBERNETES_SERVICE_HOST: "" }))
      vi.stubEnv(name, value);
    expect(() => kubeconfigFiles({})).toThrow(/no kubeconfig: expected .*\.kube.config, \$KUBECONFIG or --kubeconfig FILE/);
    vi.stubEnv("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    expect(kubeconfigFiles({})).toBeUndefined();
    const usual = join(home, ".kube", "config");
    mkdirSync(join(home, ".kube"));
    writeFileSync(usual, "");
    expect(kubeconfigFiles({})).toEqual([usual]);
    vi.stubEnv("KUBECONFIG", ["a", "", "b"].join(delimiter));
    expect(kubeconfigFiles({})).toEqual(["a", "b"]);
    expect(kubeconfigFiles({ kubeconfig: "c" })).toEqual(["c"]);
  } finally {
    rmSync(home, { recursive: true });
  }
});
