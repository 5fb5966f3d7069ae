import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { type GraftJobObject, workerJobName, workerRoles, type V1PodTemplateSpec } from "./objects.js";
import { isOfOtherPods, isQueued, workerJob } from "./worker-job.js";

const FILE = "test/golden/worker-jobs.yaml";
const uid = "0b7f2a7e-33a1-4f6c-9d0c-0a52a4c61f11";

/** As deploy/k8s/namespace has them, with something in each field that a job may add to. */
const template: V1PodTemplateSpec = {
  metadata: { labels: { team: "platform" }, annotations: { "prometheus.io/port": "9090" } },
  spec: {
    serviceAccountName: "graft-worker",
    automountServiceAccountToken: false,
    nodeSelector: { "kubernetes.io/os": "linux" },
    tolerations: [{ key: "batch", operator: "Exists" }],
    imagePullSecrets: [{ name: "site" }],
    securityContext: { runAsNonRoot: true },
    volumes: [{ name: "config", configMap: { name: "graft-workers" } }],
    containers: [
      {
        name: "worker",
        image: "localhost/graft-extractor:0.1.0",
        command: ["node", "dist/services/extractor/main.js"],
        args: ["--config", "/etc/graft/extractor.yaml"],
        env: [{ name: "UV_THREADPOOL_SIZE", value: "6" }],
        resources: { requests: { cpu: "2", memory: "1Gi" }, limits: { memory: "4Gi" } },
        volumeMounts: [{ name: "config", mountPath: "/etc/graft", readOnly: true }],
      },
      { name: "proxy", image: "site/proxy:1" },
    ],
  },
};

const everything: GraftJobObject = {
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: {
    name: "flowers",
    namespace: "team-a",
    uid,
    creationTimestamp: "2026-01-01T00:00:00Z",
    labels: { "kueue.x-k8s.io/queue-name": "team-a", owner: "vera" },
  },
  spec: {
    dataset: { source: "s3://pictures/flowers/", credentialsSecret: "pictures" },
    extractors: {
      max: 8,
      pod: {
        resources: { requests: { cpu: "8" }, limits: { memory: "8Gi", "nvidia.com/gpu": "1" } },
        nodeSelector: { pool: "gpu" },
        tolerations: [{ key: "nvidia.com/gpu", operator: "Exists", effect: "NoSchedule" }],
        affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } },
        labels: { "kueue.x-k8s.io/queue-name": "pictures", "graft.dev/job-uid": "of another", team: "a" },
        annotations: { owner: "vera" },
        priorityClassName: "batch",
        runtimeClassName: "nvidia",
        imagePullSecrets: ["registry"],
        env: { HTTPS_PROXY: "http://proxy:3128" },
        serviceAccountName: "graft-gpu",
      },
    },
    trainers: { max: 2 },
  },
};
const plain: GraftJobObject = {
  ...everything,
  metadata: { ...everything.metadata, labels: {} },
  spec: { dataset: { source: "s3://pictures/flowers/" } },
};
const group = { role: "extractor", engine: "onnx", count: 8, suspended: false } as const;

test(`${FILE} is what a job's batch Jobs look like (GRAFT_WRITE_DOCS=1 npx vitest run formats/kubernetes writes it)`, () => {
  const jobs = [
    workerJob(everything, template, group),
    workerJob(everything, template, { role: "trainer", engine: "tensorflow", count: 2, suspended: false }),
    workerJob(plain, template, { ...group, count: 1, suspended: true }),
  ];
  const head =
    "# The batch Jobs of a job with every override of its pods, and of one with none (formats/kubernetes/worker-job.test.ts writes them).\n";
  const text = head + jobs.map((job) => stringify(job, { aliasDuplicateObjects: false })).join("---\n");
  if (process.env["GRAFT_WRITE_DOCS"] === "1") writeFileSync(FILE, text);
  expect(text).toBe(readFileSync(FILE, "utf8"));
});

test("the same inputs give the same object, and inputs are left as they are", () => {
  const before = JSON.stringify([everything, template]);
  expect(workerJob(everything, template, group)).toEqual(workerJob(everything, template, group));
  expect(JSON.stringify([everything, template])).toBe(before);
});

test("a job cannot take graft's own labels, and reads the Secret of its dataset with its extractors only", () => {
  const extractors = workerJob(everything, template, group);
  expect(extractors.spec?.template.metadata?.labels).toMatchObject({ "graft.dev/job-uid": uid, team: "platform" });
  const trainers = JSON.stringify(workerJob(everything, template, { ...group, role: "trainer" }));
  expect(trainers).not.toContain("pictures");
  expect(trainers).not.toContain("--dataset-credentials");
});

test("what comes first in a pod's own environment is the template's POD_NAME where it has one", () => {
  const own = { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } };
  const [worker] = template.spec?.containers ?? [];
  const named: V1PodTemplateSpec = { spec: { containers: [{ ...worker!, env: [own] }] } };
  expect(workerJob(plain, named, group).spec?.template.spec?.containers[0]?.env).toEqual([own]);
});

test("Kueue's labels make a Job that Kueue starts; those of a role come before those of the job", () => {
  expect(isQueued(everything, "extractor")).toBe(true);
  expect(isQueued(plain, "extractor")).toBe(false);
  expect(workerJob(everything, template, { ...group, role: "trainer" }).metadata?.labels).toMatchObject({
    "kueue.x-k8s.io/queue-name": "team-a",
  });
  expect(workerJob(plain, template, group).spec?.suspend).toBe(false);
});

test("other overrides or another Secret mean other pods; numbers, other roles and a new PodTemplate do not", () => {
  const stands = workerJob(everything, template, group);
  const with_ = (spec: object): GraftJobObject => ({ ...everything, spec: { ...everything.spec, ...spec } });
  expect(isOfOtherPods(everything, "extractor", stands)).toBe(false);
  expect(isOfOtherPods(with_({ extractors: { ...everything.spec.extractors, max: 2 } }), "extractor", stands)).toBe(false);
  expect(isOfOtherPods(with_({ trainers: { pod: { priorityClassName: "high" } } }), "extractor", stands)).toBe(false);
  expect(isOfOtherPods(everything, "extractor", workerJob(everything, { spec: { containers: [] } }, group))).toBe(false);
  expect(isOfOtherPods(with_({ extractors: { max: 8 } }), "extractor", stands)).toBe(true);
  const other = { dataset: { ...everything.spec.dataset, credentialsSecret: "others" } };
  expect(isOfOtherPods(with_(other), "extractor", stands)).toBe(true);
  expect(isOfOtherPods(everything, "extractor", { metadata: {} })).toBe(true);
});

test("names are the job's where they fit; a long one ends in its uid, and is a name and a label in any case", () => {
  expect(workerJobName({ name: "flowers", uid }, "extractor")).toBe("flowers-extractors");
  expect(workerJobName({ name: "x".repeat(46), uid }, "extractor")).toBe(`${"x".repeat(46)}-extractors`);
  for (const name of ["x".repeat(49), "x".repeat(253), `${"x".repeat(36)}.${"y".repeat(100)}`, `${"x".repeat(62)}.z`])
    for (const role of Object.keys(workerRoles) as (keyof typeof workerRoles)[]) {
      const long = workerJobName({ name, uid }, role);
      expect(long).toMatch(new RegExp(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?-0b7f2a7e-${role}s$`));
      expect(long).not.toContain(".-");
      expect(long.length).toBeLessThanOrEqual(57); // "-" and five characters of a pod's own make 63
      const { labels = {} } = workerJob({ ...plain, metadata: { ...plain.metadata, name } }, template, { ...group, role }).metadata ?? {};
      for (const value of Object.values(labels)) expect(value).toMatch(/^[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/);
    }
  const [a, b] = ["1", "2"].map((digit) => workerJobName({ name: "x".repeat(60), uid: digit + uid.slice(1) }, "trainer"));
  expect(a).not.toBe(b);
});
