import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { missingForControlPlane } from "../support/kubernetes/cluster.js";
import { GraftCluster, NAMESPACE } from "../support/kubernetes/graft-cluster.js";
import { finished, jobOn, richJob, samplePictures, temporaryFolder } from "../support/local-jobs.js";

const missing = [
  ...(missingForControlPlane() === undefined ? [] : [missingForControlPlane()]),
  ...(["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram),
];
const because = missing.length === 0 ? "a control plane of its own" : missing.join("; ");

describe.skipIf(missing.length > 0)(`GraftJobs on a Kubernetes API server (${because})`, () => {
  const folder = temporaryFolder();
  const pictures = samplePictures(join(folder.path, "pictures"), 24);
  let graft: GraftCluster;
  let source = "";
  let expected = "";

  beforeAll(async () => {
    [graft, expected] = await Promise.all([
      GraftCluster.start(),
      finished({ store: join(folder.path, "local"), spec: jobOn(pictures, richJob) }).then(({ result }) => result.metrics.weightsSha256),
    ]);
    source = await graft.upload(pictures);
    await graft.coordinator({ kubernetes: { unschedulableMs: 2_000, imagePullMs: 2_000 } });
  });
  afterAll(async () => {
    await graft?.stop();
    folder.remove();
  });

  const spec = (job = richJob, workers = { trainers: 1, extractors: 2 }) => {
    const of = jobOn(source, job, workers);
    return { ...of, dataset: { ...of.dataset, credentialsSecret: "pictures" } };
  };

  const longJob = { ...richJob, training: { ...richJob.training, steps: 3_000, evaluateEverySteps: 100 } };
  const childrenOf = async (name: string): Promise<string> =>
    graft.control.kubectl(["get", "jobs,pods", "-n", NAMESPACE, "-l", `graft.dev/job=${name}`, "-o", "name"]);
  const patch = (name: string, change: object) =>
    graft.control.kubectl(["patch", "gj", name, "-n", NAMESPACE, "--type=merge", "-p", JSON.stringify(change)]);
  const conditionOf = async (name: string, type: string) => (await graft.read(name)).status?.conditions?.find((each) => each.type === type);
  const failed = async (name: string) => {
    await graft.wait(name, "condition=Failed");
    return conditionOf(name, "Failed");
  };

  test("a good job completes; its conditions come in order, kubectl wait returns, the weights are those of one process", async () => {
    const watch = graft.watch("good");
    await graft.submit("good", spec());
    expect(await graft.digest("good")).toBe(expected);
    const seen = watch
      .stop()
      .map(
        ({ status }) =>
          `${status?.phase ?? ""} ${(status?.conditions ?? []).map(({ type, status: value }) => `${type}=${value}`).join(" ")}`,
      );
    const steps = seen.filter((state, index) => state !== seen[index - 1]);
    const order = ["PENDING", "SCANNING", "PLANNING", "EXTRACTING", "TRAINING", "EVALUATING", "EXPORTING", "COMPLETE"];
    const places = steps.map((state) => order.indexOf(state.split(" ")[0] ?? ""));
    expect(places.filter((place) => place >= 0)).toEqual([...places].filter((place) => place >= 0).sort((a, b) => a - b));
    expect(steps).toContain("EXTRACTING Progressing=True Suspended=False");
    expect(steps).toContain("TRAINING Progressing=True Suspended=False");
    expect(steps.at(-1)).toBe("COMPLETE Complete=True Progressing=False Suspended=False");

    const [header = "", row = ""] = (await graft.control.kubectl(["get", "gj", "good", "-n", NAMESPACE])).split("\n");
    expect(header.split(/\s+/)).toEqual(["NAME", "STATE", "PROGRESS", "ETA", "CACHED", "ACCURACY", "AGE"]);
    expect(row).toMatch(/^good\s+COMPLETE\s+0\s+0\.\d+\s+\d+s/);
    expect(await graft.control.kubectl(["describe", "gj", "good", "-n", NAMESPACE])).toMatch(/Normal\s+Complete\s/);
  });

  test.each([
    ["EXTRACTING", { ...richJob, preprocessing: { size: 192 } }], // features that no other test has
    ["TRAINING", longJob],
  ] as const)("suspended in %s and resumed: no pod stays meanwhile, and the weights are the same", async (phase, job) => {
    const before = await finished({ store: join(folder.path, phase), spec: jobOn(pictures, job) });
    const name = `pausing-${phase.toLowerCase()}`;
    await graft.submit(name, spec(job));
    await graft.wait(name, `jsonpath={.status.phase}=${phase}`);
    await patch(name, { spec: { suspend: true } });
    await graft.wait(name, "condition=Suspended");
    await graft.control.kubectl(["wait", "--for=delete", "pods", "-n", NAMESPACE, "-l", `graft.dev/job=${name}`, "--timeout=60s"]);
    expect((await graft.read(name)).status?.phase).toBe(phase);
    await patch(name, { spec: { suspend: false } });
    expect(await graft.digest(name)).toBe(before.result.metrics.weightsSha256);
  });

  test("its status erased in extraction, in training and at the end: it comes back, with the same weights", async () => {
    const erase = async (): Promise<void> => {
      const { status: _, ...rest } = await graft.read("erased");
      await graft.control.kubectl(["replace", "--subresource=status", "-f", "-"], JSON.stringify({ ...rest, status: {} })).catch(() => "");
    };
    await graft.submit("erased", spec({ ...richJob, preprocessing: { size: 64 } }));
    for (const phase of ["EXTRACTING", "TRAINING"]) {
      await graft.wait("erased", `jsonpath={.status.phase}=${phase}`);
      await erase();
    }
    const digest = await graft.digest("erased");
    await erase();
    expect(await graft.digest("erased")).toBe(digest);
    expect((await graft.read("erased")).status?.progress?.pictures).toBe(120);
  });

  test("a job that is deleted takes its workers and objects with it; its result stays, unless it says DELETE", async () => {
    const store = await graft.openStore();
    const keysOf = async (uid: string): Promise<string[]> => {
      const keys: string[] = [];
      for await (const key of store.list(`jobs/${uid}/`)) keys.push(key.slice(`jobs/${uid}/`.length));
      return keys;
    };
    await graft.submit("going", spec(longJob));
    await graft.wait("going", "jsonpath={.status.phase}=TRAINING");
    const { uid } = (await graft.read("going")).metadata;
    expect(await childrenOf("going")).toContain("job.batch/going-trainers");
    await graft.control.kubectl(["delete", "gj", "going", "-n", NAMESPACE, "--timeout=60s"]);
    expect(await childrenOf("going")).toBe("");
    expect(await keysOf(uid)).toEqual([]);
    for (const [name, deletionPolicy, kept] of [
      ["kept", "RETAIN", true],
      ["gone", "DELETE", false],
    ] as const) {
      await graft.submit(name, { ...spec(), deletionPolicy });
      await graft.wait(name, "condition=Complete");
      const job = await graft.read(name);
      await graft.control.kubectl(["delete", "gj", name, "-n", NAMESPACE, "--timeout=60s"]);
      const keys = await keysOf(job.metadata.uid);
      expect([keys.includes("result/weights.safetensors"), keys.some((key) => key.startsWith("commits/"))]).toEqual([kept, false]);
    }
  });

  test("activeDeadlineSeconds, ttlSecondsAfterFinished", async () => {
    await graft.submit("late", { ...spec(longJob), activeDeadlineSeconds: 3 });
    expect(await failed("late")).toMatchObject({
      reason: "DeadlineExceeded",
      message: expect.stringContaining("activeDeadlineSeconds, 3") as unknown,
    });
    await graft.control.kubectl(["wait", "--for=delete", "pods", "-n", NAMESPACE, "-l", "graft.dev/job=late", "--timeout=60s"]);
    await graft.submit("brief", { ...spec(), ttlSecondsAfterFinished: 1 });
    await graft.control.kubectl(["wait", "--for=delete", "gj/brief", "-n", NAMESPACE, "--timeout=120s"]);
  });

  test("pods that fail, run out of memory, are not scheduled or cannot get their image end the job with the reason", async () => {
    const { kubelet } = graft;
    const named = (name: string) => (pod: { metadata?: { labels?: Record<string, string> } }) =>
      pod.metadata?.labels?.["graft.dev/job"] === name;
    const fates = {
      failing: { kind: "end", exitCode: 70, reason: "Error", message: '{"level":60,"msg":"no such device"}' },
      hungry: { kind: "end", exitCode: 137, reason: "OOMKilled", message: "" },
      imageless: { kind: "imagePull", reason: "ImagePullBackOff" },
    } as const;
    kubelet.fate = (pod) => Object.entries(fates).find(([name]) => named(name)(pod as never))?.[1] ?? { kind: "run" };
    await graft.submit("failing", { ...spec(), backoffLimit: 1 });
    await graft.submit("hungry", {
      ...spec(),
      backoffLimit: 0,
      trainers: { pod: { resources: { limits: { memory: "1Gi" } } } },
      extractors: { pod: { resources: { limits: { memory: "1Gi" } } } },
    });
    await graft.submit("imageless", spec());
    await graft.submit("homeless", {
      ...spec(),
      extractors: { max: 1, pod: { resources: { requests: { "nvidia.com/gpu": "8" }, limits: { "nvidia.com/gpu": "8" } } } },
    });
    expect(await failed("failing")).toMatchObject({
      reason: "BackoffLimitExceeded",
      message: expect.stringMatching(
        /workers have failed, backoffLimit is 1: the first one, \w+ failing-.*: exit code 70; its last lines: .*no such device/,
      ) as unknown,
    });
    expect(await failed("hungry")).toMatchObject({
      reason: "WorkerOutOfMemory",
      message: expect.stringMatching(/out of memory: it was ended for using more than 1Gi; raise .*limits\.memory/) as unknown,
    });
    expect(await failed("imageless")).toMatchObject({
      reason: "ImagePullFailed",
      message: expect.stringMatching(/image graft-\w+:test: ImagePullBackOff/) as unknown,
    });
    expect(await failed("homeless")).toMatchObject({
      reason: "WorkersUnschedulable",
      message: expect.stringMatching(/Insufficient nvidia\.com\/gpu/) as unknown,
    });
    expect(await graft.control.kubectl(["describe", "gj", "failing", "-n", NAMESPACE])).toMatch(/Warning\s+WorkerFailed.*no such device/);
  });

  test("a namespace that nobody has prepared, and what admission cannot know, are told in the job", async () => {
    const secret = JSON.parse(await graft.control.kubectl(["get", "secret", "pictures", "-n", NAMESPACE, "-o", "json"])) as {
      data: object;
      type: string;
    };
    const { data, type } = secret;
    await graft.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "bare" } },
      { apiVersion: "v1", kind: "Secret", metadata: { name: "pictures", namespace: "bare" }, data, type },
    );
    const at = (name: string, job: object) =>
      graft.apply({ apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { name, namespace: "bare" }, spec: job });
    await at("unprepared", spec());
    await graft.control.kubectl(["wait", "--for=condition=Progressing=False", "gj/unprepared", "-n", "bare", "--timeout=60s"]);
    expect((await graft.read("unprepared", "bare")).status?.conditions?.find(({ type }) => type === "Progressing")?.message).toMatch(
      /no PodTemplate graft-extractor.*docs\/kubernetes\.md/,
    );
    await at("keyless", { dataset: { source } });
    await graft.control.kubectl(["wait", "--for=condition=Failed", "gj/keyless", "-n", "bare", "--timeout=60s"]);
    expect((await graft.read("keyless", "bare")).status?.failure).toMatchObject({
      code: "SPEC_INVALID",
      message: expect.stringContaining("dataset.credentialsSecret: is required on Kubernetes") as unknown,
    });
  });
});
