import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import type { z } from "zod";
import { version } from "../domain/version.js";
import { LAST_CALLS_MS } from "../platform/service-process/service-process.js";
import { contentConfig, secretsConfig } from "../services/bootstrap/config.js";
import { demoSecrets } from "../services/bootstrap/demo-secrets.js";
import { coordinatorConfig } from "../services/coordinator/config.js";
import { extractorConfig } from "../services/extractor/config.js";
import { trainerConfig } from "../services/trainer/config.js";
import { offencesOf } from "./support/manifest-policy.js";
import { mountedConfigs, OVERLAYS, parseManifests, podTemplatesOf, readUnpatched } from "./support/manifests.js";

/** Without kubectl, so without patches; test/integration/kubernetes-manifests.all.test.ts has the same rules for what kubectl renders. */
const folderOf = (overlay: string): string => `deploy/k8s/overlays/${overlay}`;

/** By service and step. */
const schemas: Readonly<Record<string, z.ZodObject>> = {
  coordinator: coordinatorConfig,
  extractor: extractorConfig,
  trainer: trainerConfig,
  "bootstrap secrets": secretsConfig,
  "bootstrap content": contentConfig,
};

/** Fields of the contract that the schemas do not have yet. */
const awaited = ["kubernetes", "tokenFile"];

function problemsOf(schema: z.ZodObject | undefined, config: unknown): string[] {
  if (schema === undefined) return ["no schema is known for it"];
  const issues = schema.safeParse(config).error?.issues ?? [];
  return issues
    .filter((issue) => issue.code !== "unrecognized_keys" || !issue.keys.every((key) => awaited.includes(key)))
    .map(({ path, message }) => `${path.join(".")}: ${message}`);
}

test.each(OVERLAYS)(
  "%s: pods are restricted, with resources and probes; images have a version; no wildcard, no list of secrets",
  (overlay) => {
    const manifests = readUnpatched(folderOf(overlay));
    expect(podTemplatesOf(manifests).length).toBeGreaterThanOrEqual(2);
    expect(offencesOf(manifests, version)).toEqual([]);
  },
);

test.each(OVERLAYS)("%s: config files are right, and leave time to stop", (overlay) => {
  const configs = mountedConfigs(readUnpatched(folderOf(overlay)));
  expect(configs.length).toBeGreaterThanOrEqual(1);
  for (const { where, role, step, text, graceMs } of configs) {
    const config = parse(text) as { readonly drainMs?: number; readonly stopMs?: number };
    const schema = schemas[step === undefined ? role : `${role} ${step}`];
    expect(problemsOf(schema, config), where).toEqual([]);
    const { drainMs = 0, stopMs = 0 } = config;
    if (step === undefined) expect(drainMs + stopMs, `${where}: drainMs or stopMs is written down`).toBeGreaterThan(0);
    expect(drainMs + stopMs + LAST_CALLS_MS, `${where}: time to stop, below terminationGracePeriodSeconds`).toBeLessThan(graceMs);
  }
});

test("the memory that the coordinator plans with is that of the pods", () => {
  const limits = readUnpatched("deploy/k8s/namespace").flatMap(({ template }) =>
    template === undefined ? [] : [template.spec.containers[0]?.resources?.limits?.["memory"]],
  );
  for (const overlay of ["demo", "production"]) {
    const { workerMemoryMebibytes } = parse(readFileSync(`${folderOf(overlay)}/coordinator.yaml`, "utf8")) as Record<string, unknown>;
    expect(limits, overlay).toEqual([`${Number(workerMemoryMebibytes) / 1024}Gi`, `${Number(workerMemoryMebibytes) / 1024}Gi`]);
  }
});

test("the demo's pods ask for no Secret and no key but those that the bootstrap makes", () => {
  const made = new Map(demoSecrets("http://minio:9000", () => "k1").map(({ name, values }) => [name, Object.keys(values)]));
  const asked = podTemplatesOf(readUnpatched(folderOf("demo"))).flatMap(({ where, template: { spec } }) =>
    [...(spec.initContainers ?? []), ...spec.containers].flatMap(({ env = [] }) =>
      env.flatMap(({ valueFrom }) =>
        valueFrom?.secretKeyRef === undefined ? [] : [{ where, name: valueFrom.secretKeyRef.name, key: valueFrom.secretKeyRef.key }],
      ),
    ),
  );
  expect(asked.length).toBeGreaterThan(10);
  expect(asked.filter(({ name, key }) => made.get(name)?.includes(key) !== true)).toEqual([]);
});

test("the demo's passwords are what MinIO and NATS take", () => {
  let count = 0;
  const values = demoSecrets("http://minio:9000", () => `k${++count}`).flatMap((secret) => Object.entries(secret.values));
  expect(new Set(values.filter(([key]) => /password|secret/i.test(key)).map(([, value]) => value)).size).toBe(count);
  for (const [key, value] of values.filter(([name]) => /access|user/i.test(name))) expect(value.length, key).toBeLessThanOrEqual(20);
});

test("the rules name an offence of each kind", () => {
  const bad = (text: string): string[] => offencesOf(parseManifests(text), "0.1.0").map((offence) => offence.replace(/^.*: /, ""));
  expect(
    bad(
      "{kind: PodTemplate, metadata: {name: x}, template: {spec: {hostNetwork: true, volumes: [{name: v, hostPath: {path: /}}], containers: [{name: c, image: localhost/graft-x}]}}}",
    ),
  ).toEqual([
    "automountServiceAccountToken",
    "runAsNonRoot",
    "runAsUser",
    "seccompProfile",
    "hostNetwork",
    "volume hostPath",
    "label app.kubernetes.io/part-of",
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "capabilities",
    "image localhost/graft-x without a version",
    "image localhost/graft-x of another version than 0.1.0",
    "requests cpu",
    "requests memory",
    "limits memory",
    "livenessProbe",
    "readinessProbe",
  ]);
  const rule = (text: string): string[] => bad(`{kind: Role, metadata: {name: x}, rules: [${text}]}`);
  expect(rule('{apiGroups: [""], resources: ["*"], verbs: [get]}')).toEqual(["a wildcard"]);
  expect(rule('{apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}')).toEqual(["list secrets", "watch secrets"]);
  expect(rule('{apiGroups: [""], resources: [users, pods/exec], verbs: [impersonate]}')).toEqual(["impersonate", "pods/exec"]);
  expect(rule("{apiGroups: [rbac.authorization.k8s.io], resources: [roles], verbs: [bind]}")).toEqual(["bind", "rights on rights"]);
  expect(bad("{kind: Namespace, metadata: {name: x}}")).toEqual(["pod-security.kubernetes.io/enforce is undefined"]);
  expect(bad("{kind: Secret, metadata: {name: x}}")).toEqual(["Secret x is written down"]);
});
