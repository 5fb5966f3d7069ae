import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { version } from "../../domain/version.js";
import { missingForControlPlane, startControlPlane, type TestCluster } from "../support/kubernetes/cluster.js";
import { kubernetesPrograms } from "../support/kubernetes/programs.js";
import { configProblems } from "../support/manifest-configs.js";
import { offencesOf } from "../support/manifest-policy.js";
import { type Manifest, OVERLAYS, parseManifests, podTemplatesOf } from "../support/manifests.js";
import { type Endpoint, mayConnect, selects } from "../support/network-policy.js";

const missing = missingForControlPlane();
const because = missing === undefined ? "" : `: ${missing}`;

let cluster: TestCluster;
/** What kubectl says of each object of an overlay when it is applied dry, and what a second time would change. */
const applied = new Map<string, { readonly dry: readonly string[]; readonly difference: string }>();
const rendered = {} as Record<(typeof OVERLAYS)[number], Manifest[]>;

const folderOf = (overlay: string): string => `deploy/k8s/overlays/${overlay}`;
/** As JSON, which is YAML too. */
const text = (object: unknown): string => JSON.stringify(object);

beforeAll(async () => {
  if (missing !== undefined) return;
  const kubectl = join(kubernetesPrograms(), "kubectl");
  for (const overlay of OVERLAYS) {
    const { status, stdout, stderr } = spawnSync(kubectl, ["kustomize", folderOf(overlay)], { encoding: "utf8" });
    if (status !== 0) throw new Error(`${overlay}: ${stderr}`);
    rendered[overlay] = parseManifests(stdout);
  }
  cluster = await startControlPlane();
  // A dry run makes neither the namespaces nor the kinds that the rest of it needs.
  const first = Object.values(rendered).flatMap((manifests) =>
    manifests.filter(({ kind }) => ["Namespace", "CustomResourceDefinition"].includes(kind)),
  );
  await cluster.kubectl(["apply", "-f", "-"], text({ apiVersion: "v1", kind: "List", items: first }));
  await cluster.kubectl(["wait", "--for=condition=Established", "crd/graftjobs.graft.dev"]);
  // One coordinator a cluster: what is bound in the whole cluster is bound to that of the overlay that is applied last.
  for (const overlay of ["demo", "production", "namespace"] as const) {
    const apply = async (...more: string[]): Promise<string[]> =>
      (await cluster.kubectl(["apply", "-k", folderOf(overlay), ...more])).trim().split("\n");
    const dry = await apply("--dry-run=server");
    await apply();
    const difference = await cluster.kubectl(["diff", "-k", folderOf(overlay)]);
    await apply();
    applied.set(overlay, { dry, difference });
  }
  await cluster.kubectl(["apply", "-f", "examples/flowers-job.yaml"]);
});
afterAll(async () => cluster?.stop());

describe.skipIf(missing !== undefined)(`what kubectl renders${because}`, () => {
  test.each(OVERLAYS)("%s: pods are restricted, with resources and probes; no wildcard, no list of secrets", (overlay) => {
    expect(offencesOf(rendered[overlay], version)).toEqual([]);
  });

  test.each(OVERLAYS)("%s: config files are right, and leave time to stop", (overlay) => {
    const { files, problems } = configProblems(rendered[overlay]);
    // Coordinator with its waiting, two workers, two steps of the bootstrap.
    expect(files.length).toBe({ demo: 6, namespace: 2, production: 1 }[overlay]);
    expect(problems).toEqual([]);
  });

  test.each(OVERLAYS)(
    "%s: everything is in a namespace of its own, every Service has pods, every role that is bound is there",
    (overlay) => {
      const manifests = rendered[overlay];
      const namespaces = manifests.filter(({ kind }) => kind === "Namespace").map(({ metadata }) => metadata.name);
      const clusterWide = ["Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"];
      expect(
        manifests.filter(({ kind, metadata }) => clusterWide.includes(kind) === namespaces.includes(metadata.namespace ?? "")),
      ).toEqual([]);
      // Those of a team's namespace are in production.
      const roles = overlay === "namespace" ? [...manifests, ...rendered.production] : manifests;
      for (const { metadata, roleRef } of manifests)
        if (roleRef !== undefined)
          expect(
            roles.filter(({ kind, metadata: { name } }) => kind === roleRef.kind && name === roleRef.name).length,
            `the role of ${metadata.name}`,
          ).toBe(1);
      const templates = podTemplatesOf(manifests);
      for (const { kind, metadata, spec } of manifests) {
        if (kind !== "Service") continue;
        const { "graft.dev/leader": _leader, ...selector } = spec?.selector ?? {};
        const pods = templates.filter(({ template }) => selects({ matchLabels: selector }, template.metadata?.labels ?? {}));
        expect(pods.length, `pods of Service ${metadata.name}`).toBe(1);
      }
    },
  );

  /** A pod by the labels that its template has. */
  const podOf = (overlay: (typeof OVERLAYS)[number], name: string): Endpoint => {
    const found = podTemplatesOf(rendered[overlay]).find(({ where }) => where.endsWith(` ${name}`));
    if (found === undefined) throw new Error(`${overlay} has no ${name}`);
    return { namespace: found.namespace, labels: found.template.metadata?.labels ?? {} };
  };
  const outside: Endpoint = { namespace: undefined, labels: {} };
  const dns: Endpoint = { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } };
  const stranger: Endpoint = { namespace: "elsewhere", labels: { app: "stranger" } };

  test("demo: the network is open for what is needed and for nothing else", () => {
    const inside = {
      coordinator: podOf("demo", "graft-coordinator"),
      extractor: podOf("demo", "graft-extractor"),
      trainer: podOf("demo", "graft-trainer"),
      minio: podOf("demo", "minio"),
      nats: podOf("demo", "nats"),
      bootstrap: podOf("demo", "graft-bootstrap"),
    };
    const others = { dns, outside, stranger };
    const pairs = [
      ...Object.entries(inside).flatMap((from) => Object.entries({ ...inside, ...others }).map((to) => [from, to] as const)),
      ...Object.entries(others).flatMap((from) => Object.entries(inside).map((to) => [from, to] as const)),
    ];
    const ports = [53, 443, 4222, 6443, 7070, 8222, 9000, 9090];
    const open = pairs.flatMap(([[fromName, from], [toName, to]]) =>
      ports.filter((port) => mayConnect(rendered.demo, from, to, port)).map((port) => `${fromName} ${toName} ${port}`),
    );
    expect(open.sort()).toEqual(
      [
        ...["coordinator", "extractor", "trainer", "bootstrap"].map((name) => `${name} minio 9000`),
        ...["extractor", "trainer"].map((name) => `${name} coordinator 7070`),
        "trainer nats 4222",
        ...["coordinator", "extractor", "trainer", "bootstrap", "minio", "nats"].map((name) => `${name} dns 53`),
        // The API server cannot be named.
        ...["coordinator", "bootstrap"].flatMap((name) =>
          ["outside", "stranger", "dns"].flatMap((to) => [`${name} ${to} 443`, `${name} ${to} 6443`]),
        ),
      ].sort(),
    );
  });

  test("production with a team's namespace: the same over two namespaces", () => {
    const all = [...rendered.production, ...rendered.namespace];
    const [coordinator, nats] = ["graft-coordinator", "graft-nats"].map((name) => podOf("production", name)) as [Endpoint, Endpoint];
    const [extractor, trainer] = ["graft-extractor", "graft-trainer"].map((name) => podOf("namespace", name)) as [Endpoint, Endpoint];
    const labels = { ingress: { "graft.dev/clients": "true" }, monitoring: { "graft.dev/monitoring": "true" } };
    const may = (from: Endpoint, to: Endpoint, port: number): boolean => mayConnect(all, from, to, port, labels);
    const open: [Endpoint, Endpoint, number][] = [
      [extractor, coordinator, 7070],
      [trainer, coordinator, 7070],
      [trainer, nats, 4222],
      [nats, nats, 6222],
      [{ namespace: "ingress", labels: {} }, coordinator, 7070],
      [{ namespace: "monitoring", labels: {} }, coordinator, 9090],
      [{ namespace: "monitoring", labels: {} }, extractor, 9090],
      [{ namespace: "monitoring", labels: {} }, nats, 8222],
      [extractor, outside, 443],
      [coordinator, outside, 443],
      [coordinator, outside, 6443],
      [nats, dns, 53],
      [trainer, dns, 53],
    ];
    expect(open.filter(([from, to, port]) => !may(from, to, port))).toEqual([]);
    const shut: [Endpoint, Endpoint, number][] = [
      [extractor, nats, 4222],
      [trainer, nats, 6222],
      [trainer, coordinator, 9090],
      [coordinator, nats, 4222],
      [stranger, coordinator, 7070],
      [stranger, nats, 4222],
      [stranger, extractor, 9090],
      [coordinator, extractor, 9090],
      [extractor, outside, 6443],
      [extractor, outside, 80],
      [nats, outside, 443],
      [{ namespace: "ingress", labels: {} }, coordinator, 9090],
    ];
    expect(shut.filter(([from, to, port]) => may(from, to, port))).toEqual([]);
  });
});

describe.skipIf(missing !== undefined)(`an API server${because}`, () => {
  test.each(OVERLAYS)("takes the overlay %s dry and in earnest, and a second time changes nothing", (overlay) => {
    const { dry = [], difference } = applied.get(overlay) ?? {};
    expect(dry.length).toBe(rendered[overlay].length);
    expect(dry.filter((line) => !/ (created|configured|unchanged) \(server dry run\)$/.test(line))).toEqual([]);
    expect(difference).toBe("");
  });

  test("makes all pods under the restricted standard, and would not make others", async () => {
    // 4 of the demo (coordinator, MinIO, NATS, bootstrap), 5 of production (2 coordinators, 3 of NATS).
    for (const [namespace, count] of [
      ["graft", 4],
      ["graft-system", 5],
    ] as const)
      await vi.waitFor(
        async () => expect((await cluster.kubectl(["get", "pods", "-n", namespace, "-o", "name"])).trim().split("\n").length).toBe(count),
        { timeout: 30_000, interval: 500 },
      );
    for (const overlay of ["demo", "namespace"] as const)
      for (const { kind, namespace, template, where } of podTemplatesOf(rendered[overlay])) {
        if (kind !== "PodTemplate") continue;
        const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "worker", namespace, ...template.metadata }, spec: template.spec };
        await expect(cluster.kubectl(["create", "--dry-run=server", "-f", "-"], text(pod)), where).resolves.toContain("created");
        const open = { ...pod, spec: { ...pod.spec, hostNetwork: true } };
        await expect(cluster.kubectl(["create", "--dry-run=server", "-f", "-"], text(open)), where).rejects.toThrow(
          /PodSecurity "restricted/,
        );
      }
  });
});
