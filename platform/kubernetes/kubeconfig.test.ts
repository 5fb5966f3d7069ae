import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../clock/system.js";
import { Kubernetes } from "./kubernetes.js";

const folder = mkdtempSync(join(tmpdir(), "graft-kubeconfig-"));
afterAll(() => rmSync(folder, { recursive: true }));

function kubeconfig(name: string, clusters: Readonly<Record<string, string>>, currentContext?: string): string {
  const file = join(folder, name);
  const entries = Object.entries(clusters);
  const content = {
    clusters: entries.map(([each, server]) => ({ name: each, cluster: { server, "certificate-authority": "ca.pem" } })),
    users: [{ name: "me", user: { token: name } }],
    contexts: entries.map(([each]) => ({ name: each, context: { cluster: each, user: "me", namespace: `team-${name}` } })),
    ...(currentContext !== undefined && { "current-context": currentContext }),
  };
  writeFileSync(file, JSON.stringify(content));
  return file;
}

test("of several kubeconfigs the first that says a thing counts, and files that are not there do not", async () => {
  const one = kubeconfig("one", { a: "https://a.one" });
  const two = kubeconfig("two", { a: "https://a.two", b: "https://b.two" }, "b");
  const open = (context?: string): Kubernetes =>
    Kubernetes.open({ kubeconfig: [join(folder, "none"), one, two], context, clock: systemClock });
  expect(open().config.getCurrentCluster()?.server).toBe("https://b.two");
  expect(await open().namespace()).toBe("team-two");
  expect(open("a").config.getCurrentCluster()).toMatchObject({ server: "https://a.one", caFile: join(folder, "ca.pem") });
  expect(open("a").config.getCurrentUser()?.token).toBe("one");
});

test("a kubeconfig or context that is not there is named", () => {
  const file = join(folder, "none");
  expect(() => Kubernetes.open({ kubeconfig: file, clock: systemClock })).toThrow(`kubernetes: ${file} cannot be used: ENOENT`);
  const empty = join(folder, "empty");
  writeFileSync(empty, "{}");
  expect(() => Kubernetes.open({ kubeconfig: [empty, file], context: "c", clock: systemClock })).toThrow(
    /names no cluster for context "c"/,
  );
});
