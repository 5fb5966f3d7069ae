import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { JobSpec } from "../../domain/job/spec.js";
import type { GraftJobObject } from "../../formats/kubernetes/objects.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { withoutImages } from "../support/graft-images.js";
import { missingForNode } from "../support/kubernetes/cluster.js";
import { Demo } from "../support/kubernetes/demo.js";
import { finished, temporaryFolder } from "../support/local-jobs.js";

const missing = [
  missingForNode(),
  withoutImages,
  ...(["nats-server", "minio", "mc"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram),
].filter((reason) => reason !== undefined);
const because = missing.length === 0 ? "a node of its own" : missing.join("; ");

const example = parse(readFileSync("examples/flowers-job.yaml", "utf8")) as GraftJobObject;
const component = (name: string): string => `app.kubernetes.io/component=${name}`;

describe.skipIf(missing.length > 0)(`the demo on Kubernetes (${because})`, () => {
  const folder = temporaryFolder();
  let demo: Demo;

  beforeAll(async () => {
    demo = await Demo.start();
    await demo.install();
  });
  afterAll(async () => {
    await demo?.stop();
    folder.remove();
  });

  /** The weights of the job in one process, with the threads that the demo's workers have. */
  const alone = async (name: string, { dataset, extractors: _e, trainers: _t, ...spec }: JobSpec): Promise<string> => {
    const { credentialsSecret: _, ...given } = dataset ?? {};
    const { result } = await finished({
      store: join(folder.path, name),
      spec: { ...spec, dataset: { ...given, source: resolve("samples/flowers") } },
      threads: 1,
    });
    return result.metrics.weightsSha256;
  };
  const submit = (name: string, spec: JobSpec) => demo.apply({ ...example, metadata: { ...example.metadata, name }, spec });

  test("kubectl apply -k, kubectl apply -f examples/flowers-job.yaml, kubectl wait: the weights of the one-process run", async () => {
    await demo.node.kubectl(["apply", "-f", "examples/flowers-job.yaml"]);
    const [digest, expected] = await Promise.all([demo.digest("flowers"), alone("flowers", example.spec)]);
    expect(digest).toBe(expected);
    console.log(
      await demo.node.kubectl(["get", "gj,jobs,pods", "-n", "graft"]),
      await demo.node.kubectl(["describe", "gj", "flowers", "-n", "graft"]),
    );
  });
});
