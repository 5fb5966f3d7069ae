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

  /** Long enough for somebody to be killed in the middle. */
  const long: JobSpec = { ...example.spec, training: { ...example.spec.training, steps: 4_000, evaluateEverySteps: 500 } };
  const endsOf = async (name: string): Promise<string> => {
    const events = await demo.graft("logs", name, "--events", "--json");
    return events;
  };

  test("the result is fetched by kubectl graft", async () => {
    const out = join(folder.path, "fetched");
    await demo.graft("fetch", "flowers", "--out", out);
    expect(readFileSync(join(out, "passport.json"), "utf8")).toContain((await demo.read("flowers")).status?.result?.weightsSha256);
  });

  // Features that no other job has, or there is no extraction to be in the middle of.
  test("an extractor's pod killed in the middle of the extraction", async () => {
    // Long enough: an idle machine has the plain pictures done in less than a second.
    const views = { count: 20, horizontalFlip: true, shift: { maxWidth: 0.2, maxHeight: 0.2 } };
    const spec: JobSpec = { ...example.spec, preprocessing: { size: 160 }, views };
    const expected = alone("extractor", spec);
    await submit("lost-extractor", spec);
    await demo.wait("lost-extractor", "jsonpath={.status.phase}=EXTRACTING");
    await demo.kill(`graft.dev/job=lost-extractor,${component("extractor")}`);
    expect(await demo.digest("lost-extractor")).toBe(await expected);
    expect(await endsOf("lost-extractor")).toMatch(/extractor lost-extractor-extractors-\w+: interrupted: /);
  });

  test.each(
    [
      ["a trainer's pod", `graft.dev/job=lost-0,${component("trainer")}`],
      ["the leading coordinator", "graft.dev/leader=true"],
      ["NATS", "app.kubernetes.io/name=nats"],
      ["MinIO, whose volume is kept", "app.kubernetes.io/name=minio"],
    ].map(([what, labels], index) => [what!, labels!, `lost-${String(index)}`] as const),
  )("%s killed in the middle of the training", async (_what, labels, name) => {
    expected ??= alone("long", long);
    await submit(name, long);
    await demo.wait(name, "jsonpath={.status.phase}=TRAINING");
    await demo.kill(labels);
    expect(await demo.digest(name)).toBe(await expected);
    const { status } = await demo.read(name);
    expect(status?.progress?.steps).toBe(4_000);
    if (labels.startsWith("graft.dev/job")) expect(await endsOf(name)).toMatch(/trainer lost-0-trainers-\w+: interrupted: /);
  });
  let expected: Promise<string> | undefined;
});
