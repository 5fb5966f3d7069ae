import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { decodePassport, type Passport } from "../../formats/passport/passport.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { finished, jobOn, richJob, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";
import { TestCluster } from "../support/test-cluster.js";

const missing = (["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram);
const real = test.skipIf(missing.length > 0);
const because = missing.length === 0 ? "" : ` (${missing.join("; ")})`;

/** One cluster for all tests here: two extractors and two trainers for whichever job comes. */
const folder = temporaryFolder();
const pictures = samplePictures(join(folder.path, "pictures"), 24);
let cluster: TestCluster;
let source = "";
let ordinal = 0;

beforeAll(async () => {
  if (missing.length > 0) return;
  cluster = await TestCluster.start({ extractors: 2, trainers: 2, stepDeadlineMs: 3_000, leaseMs: 5_000 });
  source = await cluster.upload(pictures);
});
afterAll(async () => {
  if (missing.length === 0) await cluster.stop();
  folder.remove();
});

const submit = (spec: Parameters<typeof jobOn>[1], workers = { trainers: 1, extractors: 2 }) =>
  cluster.submit(jobOn(source, spec, workers), `job-${String(ordinal++)}`);
const longJob = { ...richJob, training: { ...richJob.training, steps: 3_000, evaluateEverySteps: 100 } };

real(`two jobs share the workers of the pool; both end with the weights of their one-process runs${because}`, async () => {
  const other = { ...richJob, training: { ...richJob.training, seed: 7 } };
  const expected = await Promise.all(
    [richJob, other].map(
      async (spec, index) =>
        (await finished({ store: join(folder.path, `local-${String(index)}`), spec: jobOn(pictures, spec) })).result.metrics.weightsSha256,
    ),
  );
  const ids = [await submit(richJob), await submit(other)];
  expect(await Promise.all(ids.map((id) => cluster.finished(id)))).toEqual(expected);
});

real(`features are extracted once, whichever job comes later${because}`, async () => {
  const first = await submit({ ...smallJob, training: { ...smallJob.training, seed: 11 } });
  await cluster.finished(first);
  const second = await submit({ ...smallJob, training: { ...smallJob.training, seed: 12 } });
  await cluster.finished(second);
  const { progress } = (await cluster.jobs.getJob({ name: second })).status;
  expect([progress?.cached, progress?.pictures]).toEqual([120, 120]);
});

real(`features are shared among jobs of one cache domain only, streamed ones too${because}`, async () => {
  const spec = (cacheDomain: string, seed: number): JobSpec => ({
    ...smallJob,
    views: { count: 4, horizontalFlip: true, shift: { maxWidth: 0.2, maxHeight: 0.2 } },
    training: { ...smallJob.training, steps: 40, featureMemoryMib: 1, seed },
    cacheDomain,
  });
  const ran = async (job: JobSpec): Promise<readonly [cached: number | undefined, weightsSha256: string]> => {
    const id = await submit(job);
    const weightsSha256 = await cluster.finished(id);
    return [(await cluster.jobs.getJob({ name: id })).status.progress?.cached, weightsSha256];
  };
  const [cached, weightsSha256] = await ran(spec("a", 91));
  expect(cached).toBe(0);
  expect((await ran(spec("a", 92)))[0]).toBe(120);
  expect(await ran(spec("b", 91))).toEqual([0, weightsSha256]);
  const store = await cluster.store();
  const kept = new Set<string>();
  for await (const key of store.list(""))
    if (/(identities|lanes|thumbnails)\//.test(key)) kept.add(key.replace(/(identities|lanes|thumbnails)\/.*/, "$1"));
  const ofDomains = [...kept]
    .map((place) => place.replace(/features\/[0-9a-f]{64}/, "features/DIGEST"))
    .filter((place) => /^domains|lanes/.test(place));
  const places = ["features/DIGEST/lanes", "features/DIGEST/thumbnails", "identities"];
  expect(new Set(ofDomains)).toEqual(new Set(["a", "b"].flatMap((domain) => places.map((place) => `domains/${domain}/${place}`))));
});

real(`features of any profile are kept apart from those that are pinned; the passport says so${because}`, async () => {
  const spec = { ...smallJob, training: { ...smallJob.training, seed: 81 } };
  const pinned = await submit(spec);
  const weights = await cluster.finished(pinned);
  const passportOf = async (id: string): Promise<Passport> =>
    decodePassport((await (await cluster.objects(id)).readResult("passport.json")) ?? new Uint8Array());
  const any = await submit({ ...spec, numericsProfile: "ANY" });
  // All workers here are of one profile, so the bits are the same.
  expect(await cluster.finished(any)).toBe(weights);
  const [first, second] = [await passportOf(pinned), await passportOf(any)];
  expect(second.featureSpecDigest).not.toBe(first.featureSpecDigest);
  expect([first.spec.numericsProfile, first.training.profilePinned]).toEqual(["PINNED", true]);
  expect([second.spec.numericsProfile, second.training.profilePinned]).toEqual(["ANY", false]);
  expect(second.features.profile).toMatchObject({ engine: first.features.profile.engine, device: "ANY", instructionSet: "ANY" });
  // Nothing of the pinned job's features was taken.
  expect((await cluster.jobs.getJob({ name: any })).status.progress?.cached).toBe(0);
});

real(`a suspended job stands still and keeps what is done; resumed, it ends with the same weights${because}`, async () => {
  const expected = (await finished({ store: join(folder.path, "suspended"), spec: jobOn(pictures, longJob) })).result.metrics.weightsSha256;
  const id = await submit(longJob, { trainers: 2, extractors: 2 });
  await cluster.until(id, ({ status }) => status.phase === "TRAINING" && (status.progress?.step ?? 0) >= 200);
  const suspended = await cluster.jobs.suspendJob({ name: id });
  expect(suspended.status).toMatchObject({ phase: "TRAINING", suspended: true });
  expect((await cluster.jobs.explainJob({ name: id }))[0]?.message).toMatch(/suspended in Training by request/);
  const { step } = (await cluster.jobs.getJob({ name: id })).status.progress ?? {};
  // The pool's workers are free for others meanwhile.
  await cluster.finished(await submit({ ...smallJob, training: { ...smallJob.training, seed: 21 } }));
  expect((await cluster.jobs.getJob({ name: id })).status.progress?.step).toBe(step);
  await cluster.jobs.resumeJob({ name: id });
  expect(await cluster.finished(id)).toBe(expected);
});

real(
  `a job that is submitted with "suspend: true" stands still from the beginning; resumed, it ends with the same weights${because}`,
  async () => {
    const spec = { ...richJob, training: { ...richJob.training, seed: 71 } };
    const expected = (await finished({ store: join(folder.path, "suspended-first"), spec: jobOn(pictures, spec) })).result.metrics
      .weightsSha256;
    const id = await submit({ ...spec, suspend: true });
    // The pool is free for others meanwhile.
    await cluster.finished(await submit({ ...smallJob, training: { ...smallJob.training, seed: 72 } }));
    expect((await cluster.jobs.getJob({ name: id })).status).toMatchObject({ phase: "PENDING", suspended: true });
    await cluster.jobs.resumeJob({ name: id });
    expect(await cluster.finished(id)).toBe(expected);
  },
);

real(`a cancelled job ends without a result; its workers go on with the next${because}`, async () => {
  const id = await submit({ ...longJob, training: { ...longJob.training, seed: 31 } });
  await cluster.until(id, ({ status }) => status.phase === "TRAINING");
  expect((await cluster.jobs.cancelJob({ name: id })).status.phase).toBe("CANCELLED");
  await expect(cluster.jobs.getResult({ name: id })).rejects.toMatchObject({ code: "JOB_NOT_COMPLETE" });
  await expect(cluster.jobs.resumeJob({ name: id })).rejects.toMatchObject({ code: "JOB_TRANSITION_ILLEGAL" });
  await cluster.finished(await submit({ ...smallJob, training: { ...smallJob.training, seed: 32 } }));
});

real(`the number of trainers is chosen between min and max, and the reason is in the status${because}`, async () => {
  const spec = { ...jobOn(source, longJob), trainers: { min: 1, max: 2 } };
  const id = await cluster.submit({ ...spec, training: { ...spec.training, seed: 41 } }, `job-${String(ordinal++)}`);
  await cluster.finished(id);
  const { progress } = (await cluster.jobs.getJob({ name: id })).status;
  expect(progress?.trainersReason).toMatch(/ms of computing/);
  const members = (await cluster.generations(id)).at(-1);
  expect(progress?.trainers).toBe(members?.length);
});

real(`requests repeat without harm; a name is taken until its job has ended${because}`, async () => {
  const spec = jobOn(source, { ...smallJob, training: { ...smallJob.training, seed: 51 } });
  const requestId = "0b7f1b1c-3f0e-4f0e-9d5e-1f4a7c2b9e51";
  const [one, two] = [
    await cluster.jobs.submitJob(requestId, { metadata: { name: "once" }, spec }),
    await cluster.jobs.submitJob(requestId, { metadata: { name: "once" }, spec }),
  ];
  expect(two.metadata.uid).toBe(one.metadata.uid);
  await expect(cluster.submit(spec, "once")).rejects.toMatchObject({ code: "JOB_EXISTS" });
  await cluster.finished(one.metadata.uid ?? "");
  const listed = await cluster.jobs.listJobs({ pageSize: 2 });
  expect(listed.jobs.length).toBe(2);
  const next = await cluster.jobs.listJobs({ pageSize: 2, pageToken: listed.nextPageToken });
  expect(next.jobs[0]?.metadata.uid).not.toBe(listed.jobs[0]?.metadata.uid);
});

const refused = async (promise: Promise<unknown>): Promise<CodedError> =>
  promise.then(
    () => Promise.reject(new Error("it was accepted")),
    (error: unknown) => error as CodedError,
  );

real(`what cannot be is said clearly, and the cluster goes on${because}`, async () => {
  // Ten mistakes, ten answers.
  const mistakes = await refused(
    cluster.submit({
      dataset: { source, split: { trainPercent: 50, validationPercent: 10, testPercent: 10 }, maxRejectedPercent: 101 },
      preprocessing: { size: 0 },
      head: { layers: [{ dropout: { rate: 1 } }] },
      training: { steps: 0, batchSize: 0, grains: 3, optimizer: { sgd: { learningRate: -1 } }, seed: -1 },
      minimumAccuracy: 2,
      trainers: { min: 0 },
    }),
  );
  expect(mistakes.code).toBe("SPEC_INVALID");
  expect((mistakes.details["problems"] as unknown[]).length).toBeGreaterThanOrEqual(10);
  expect(await refused(cluster.jobs.getJob({ name: "no-such-job" }))).toMatchObject({ code: "JOB_NOT_FOUND" });
  expect(await refused(cluster.submit({ ...jobOn(source, smallJob), backbone: { name: "no_such_net" } }))).toMatchObject({
    code: "BACKBONE_UNKNOWN",
  });

  // A bucket that is not there, a prefix without pictures, a manifest that reaches out of its folder: the job fails and says why.
  const gone = await cluster.submit(jobOn("s3://no-such-bucket/pictures/", smallJob), "gone");
  expect((await cluster.reached(gone, "FAILED")).status.failure?.message).toMatch(/no-such-bucket/);
  const empty = await cluster.submit(jobOn("s3://graft/no/such/prefix/", smallJob), "empty");
  expect((await cluster.reached(empty, "FAILED")).status.failure?.code).toMatch(/DATASET_/);
});

real(`a worker with another numerics profile or a wrong coordinator is refused, and it is said${because}`, async () => {
  const id = await submit({ ...smallJob, training: { ...smallJob.training, seed: 61 } });
  await cluster.finished(id);
  const foreign = cluster.run("extractor-foreign", "extractor", { config: { job: id, engine: "no_such_engine" } });
  expect((await foreign.ended).code).toBe(6);
  expect(foreign.lines.at(-1)?.msg).toMatch(/no_such_engine/);
});

real(`a stop ends every process at once, with exit code 0${because}`, async () => {
  // A process that waits for its grace to be over says so, with another code.
  const running = [...cluster.processes.values()].filter(({ isRunning }) => isRunning).reverse();
  expect(running.map(({ role }) => role).sort()).toEqual(["coordinator", "extractor", "extractor", "trainer", "trainer"]);
  for (const each of running) {
    await each.kill("SIGTERM");
    expect({ name: each.name, ...(await each.ended) }).toEqual({ name: each.name, code: 0, signal: null });
  }
});
