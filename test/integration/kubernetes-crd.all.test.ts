import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { mutableSpecFields } from "../../formats/crd/rules.js";
import { JobSpecSchema } from "../../proto/gen/graft/v1/job_pb.js";
import { badSpecs } from "../support/bad-specs.js";
import { missingForControlPlane, startControlPlane, type TestCluster } from "../support/kubernetes/cluster.js";
import { installCrd } from "../support/kubernetes/install-crd.js";

const dataset = { source: "s3://bucket/pictures/" };

interface GraftJob {
  readonly metadata: { readonly generation: number };
  readonly spec: JobSpec;
  readonly status?: Readonly<Record<string, unknown>>;
}

/** For each field of a spec that may not change: another value of it than `standing` has. */
const changes: Readonly<Record<string, JobSpec>> = {
  dataset: { dataset: { source: "s3://bucket/others/" } },
  backbone: { backbone: { name: "resnet18" } },
  preprocessing: { preprocessing: { size: 192 } },
  cut: { cut: "input" },
  views: { views: { count: 2, horizontalFlip: true } },
  head: { head: { layers: [{ dense: { units: 8 } }] } },
  initialWeights: { initialWeights: { random: {} } },
  training: { training: { steps: 6 } },
  minimumAccuracy: { minimumAccuracy: 0.5 },
  numericsProfile: { numericsProfile: "ANY" },
  cacheDomain: { cacheDomain: "team" },
};

/** For each field that may change. */
const accepted: Readonly<Record<string, JobSpec>> = {
  extractors: { extractors: { min: 1, max: 8, pod: { nodeSelector: { pool: "cheap" } } } },
  trainers: { trainers: { max: 4 } },
  suspend: { suspend: true },
  activeDeadlineSeconds: { activeDeadlineSeconds: 3600 },
  ttlSecondsAfterFinished: { ttlSecondsAfterFinished: 60 },
  backoffLimit: { backoffLimit: 0 },
  deletionPolicy: { deletionPolicy: "DELETE" },
};

const missing = missingForControlPlane();

describe.skipIf(missing !== undefined)(`the CRD on a Kubernetes API server (${missing ?? "a control plane of its own"})`, () => {
  let cluster: TestCluster;
  const kubectl: TestCluster["kubectl"] = (args, input) => cluster.kubectl(args, input);

  beforeAll(async () => {
    cluster = await startControlPlane();
    await installCrd(cluster);
    await create("standing", { dataset, training: { steps: 5 }, trainers: { min: 1, max: 2 } });
  });
  afterAll(() => cluster?.stop());

  const manifest = (name: string, spec: unknown): unknown => ({
    apiVersion: "graft.dev/v1alpha1",
    kind: "GraftJob",
    metadata: { name },
    spec,
  });
  const create = (name: string, spec: unknown): Promise<string> => kubectl(["create", "-f", "-"], JSON.stringify(manifest(name, spec)));
  const get = async (name: string): Promise<GraftJob> => JSON.parse(await kubectl(["get", "gj", name, "-o", "json"])) as GraftJob;
  const patch = (name: string, change: unknown, ...flags: readonly string[]): Promise<string> =>
    kubectl(["patch", "gj", name, "--type=merge", "-p", JSON.stringify(change), ...flags]);
  const setStatus = (name: string, status: unknown): Promise<string> => patch(name, { status }, "--subresource=status");

  test("it is structural, and applied again it stays as it is", async () => {
    const conditions = JSON.parse(await kubectl(["get", "crd", "graftjobs.graft.dev", "-o", "jsonpath={.status.conditions}"])) as unknown;
    expect(conditions).not.toContainEqual(expect.objectContaining({ type: "NonStructuralSchema", status: "True" }));
    expect(await kubectl(["apply", "-f", "deploy/k8s/base/graft-job-crd.yaml"])).toContain("graftjobs.graft.dev unchanged");
  });

  test.each(badSpecs)("refused with its field: $field: $spec", async ({ field, spec }) => {
    const refusal = await create("bad", spec).then(
      () => "it was accepted",
      (error: Error) => error.message,
    );
    const problems = [...refusal.matchAll(/(?:^\* |is invalid: )spec\.(\S+): /gm)].map(([, path]) => path);
    // Of a field of a part that is not there only the part can be named. Keys of maps are written as fields are.
    const told = spec.dataset === undefined ? "dataset" : field.replace(/\["(\w+)"\]$/, ".$1");
    expect(problems, refusal).toEqual([told]);
  });

  test("unknown fields and wrong types are refused by name", async () => {
    await expect(create("typo", { dataset, trainning: {} })).rejects.toThrow('unknown field "spec.trainning"');
    await expect(create("typo", { dataset, training: { batchsize: 8 } })).rejects.toThrow('unknown field "spec.training.batchsize"');
    await expect(create("type", { dataset, training: { seed: "1" } })).rejects.toThrow("spec.training.seed: Invalid value");
    await expect(create("type", { dataset, deletionPolicy: "KEEP" })).rejects.toThrow(
      /spec.deletionPolicy: Unsupported value: "KEEP".*"RETAIN", "DELETE"/,
    );
  });

  test("a good spec is stored with its defaults, and means the same", async () => {
    const spec: JobSpec = {
      dataset: { ...dataset, split: { seed: 7 } },
      views: { count: 4, randomResizedCrop: { minScale: 0.5 }, horizontalFlip: true },
      head: { layers: [{ dense: { units: 32 } }, { dropout: { rate: 0.5 } }] },
      training: {
        epochs: 20,
        optimizer: { sgd: { nesterov: true } },
        schedule: { cosine: {} },
        classWeights: { given: { weights: { daisy: 2 } } },
      },
      extractors: { max: 8 },
    };
    await create("good", spec);
    const stored = (await get("good")).spec;
    expect(stored).toMatchObject({ suspend: false, backoffLimit: 3, deletionPolicy: "RETAIN", training: { batchSize: 96, seed: 42 } });
    expect(stored.extractors).toEqual({ max: 8 });
    expect(
      Object.keys(stored)
        .filter((name) => !Object.hasOwn(spec, name))
        .sort(),
    ).toEqual(["backoffLimit", "deletionPolicy", "minimumAccuracy", "numericsProfile", "suspend"]);
    expect(resolveJob(stored, "job", "kubernetes")).toEqual(resolveJob(spec, "job", "kubernetes"));
  });

  test("every example is accepted", async () => {
    const examples = readdirSync("examples").filter((name) => name.endsWith(".yaml"));
    const items = examples.map((name) => {
      const { metadata, ...job } = parse(readFileSync(`examples/${name}`, "utf8")) as { metadata: { name: string } };
      return { ...job, metadata: { name: metadata.name } }; // whatever namespace it is for
    });
    const created = await kubectl(["create", "--dry-run=server", "-f", "-"], JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    expect(created.match(/created \(server dry run\)/g)).toHaveLength(examples.length);
  });

  test("what shapes the result cannot be changed, be it changed, added or removed; the rest can", async () => {
    const fields = JobSpecSchema.fields.map(({ jsonName }) => jsonName);
    expect([...Object.keys(changes), ...Object.keys(accepted)].sort()).toEqual([...fields].sort());
    expect(Object.keys(accepted).sort()).toEqual([...mutableSpecFields].sort());
    for (const [name, spec] of Object.entries(changes))
      await expect(patch("standing", { spec }), name).rejects.toThrow(`spec: Invalid value: "object": ${name} cannot be changed`);
    await expect(patch("standing", { spec: { training: null } })).rejects.toThrow("training cannot be changed");

    await create("changing", { dataset });
    for (const [name, spec] of Object.entries(accepted)) {
      await patch("changing", { spec });
      expect((await get("changing")).spec[name as keyof JobSpec]).toEqual(spec[name as keyof JobSpec]);
    }
    expect((await get("changing")).metadata.generation).toBe(1 + Object.keys(accepted).length);
  });

  test("the scale subresource sets the most trainers, and reads how many are at work", async () => {
    await kubectl(["scale", "gj/standing", "--replicas=3"]);
    expect((await get("standing")).spec.trainers).toEqual({ min: 1, max: 3 });
    await setStatus("standing", { progress: { trainers: 2 } });
    const scale = JSON.parse(await kubectl(["get", "gj", "standing", "--subresource=scale", "-o", "json"])) as unknown;
    expect(scale).toMatchObject({ spec: { replicas: 3 }, status: { replicas: 2 } });
    await expect(kubectl(["scale", "gj/standing", "--replicas=0"])).rejects.toThrow("spec.trainers.max");
  });

  test("the status is written apart from the spec", async () => {
    await create("apart", { dataset });
    await patch("apart", { status: { phase: "COMPLETE" } });
    expect((await get("apart")).status).toBeUndefined();
    await patch("apart", { spec: { suspend: true }, status: { phase: "EXTRACTING" } }, "--subresource=status");
    const { metadata, spec, status } = await get("apart");
    expect({ generation: metadata.generation, suspend: spec.suspend, status }).toEqual({
      generation: 1,
      suspend: false,
      status: { phase: "EXTRACTING" },
    });
    await expect(setStatus("apart", { phase: "DANCING" })).rejects.toThrow("status.phase: Unsupported value");
  });

  test("get shows the columns, by short name and in the category all; wait sees conditions", async () => {
    await create("shown", { dataset });
    const condition = {
      type: "Complete",
      status: "True",
      reason: "ResultWritten",
      message: "done",
      lastTransitionTime: "2026-01-02T03:04:05Z",
    };
    const waited = kubectl(["wait", "--for=condition=Complete", "gj/shown", "--timeout=60s"]);
    await setStatus("shown", {
      phase: "COMPLETE",
      progress: { cached: 150, summary: "step 1200/1200", eta: "0s" },
      result: { testAccuracy: 0.975 },
      conditions: [condition],
    });
    expect(await waited).toContain("graftjob.graft.dev/shown condition met");
    const [head = "", row = ""] = (await kubectl(["get", "gj", "shown"])).split("\n");
    const columns = [...head.matchAll(/\S+\s*/g)].map(({ 0: text, index }) => [text.trim(), row.slice(index, index + text.length).trim()]);
    expect(columns).toEqual([
      ["NAME", "shown"],
      ["STATE", "COMPLETE"],
      ["PROGRESS", "step 1200/1200"],
      ["ETA", "0s"],
      ["CACHED", "150"],
      ["ACCURACY", "0.975"],
      ["AGE", expect.stringMatching(/^\d+s$/)],
    ]);
    expect(await kubectl(["get", "all"])).toContain("graftjob.graft.dev/shown");
    expect(await kubectl(["api-resources", "--api-group=graft.dev", "--no-headers"])).toMatch(
      /^graftjobs\s+gj\s+graft.dev\/v1alpha1\s+true\s+GraftJob\s*$/,
    );
  });

  test("explain shows what the proto says of a field, with its default", async () => {
    const batchSize = await kubectl(["explain", "graftjob.spec.training.batchSize"]);
    expect(batchSize).toMatch(/FIELD: batchSize <integer>/);
    expect(batchSize).toContain("Rows of a global batch, at least 2 for each grain. Default 96.");
    const spec = await kubectl(["explain", "gj.spec"]);
    expect(spec).toContain("Images x backbone x cut x head x recipe.");
    expect(spec).toMatch(/dataset\s+<Object> -required-/);
    expect(spec).toMatch(/deletionPolicy\s+<string>\n\s+enum: RETAIN, DELETE/);
  });
});
