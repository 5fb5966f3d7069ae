import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { finished, jobOn, temporaryFolder } from "../support/local-jobs.js";
import { TestCluster } from "../support/test-cluster.js";

const data = process.env["GRAFT_TEST_DATA"];
const missing = [
  ...(data === undefined ? ["GRAFT_TEST_DATA is not set"] : []),
  ...(["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram),
];
const because = missing.length === 0 ? "" : ` (${missing.join("; ")})`;

/** The default job, but for fewer epochs: 1,250 pictures, 20 tasks. */
const job = { training: { epochs: 10 } };
const names = (role: string): string[] => [0, 1, 2].map((index) => `${role}-${String(index)}`);

const folder = temporaryFolder();
let cluster: TestCluster | undefined;

afterAll(async () => {
  await cluster?.stop();
  folder.remove();
});

test.skipIf(missing.length > 0)(
  `flower_photos in a bucket, 3 extractors, 3 trainers: the weights of the one-process run, and everyone did a part${because}`,
  async () => {
    const pictures = join(data!, "images/flower_photos");
    const { result } = await finished({ store: join(folder.path, "local"), spec: jobOn(pictures, job) });

    cluster = await TestCluster.start({ extractors: 3, trainers: 3 });
    const source = await cluster.upload(pictures, "flower_photos");
    // Whoever comes late finds work too, but the first tasks are for those who are there.
    for (const extractor of names("extractor")) await cluster.process(extractor).logged(({ msg }) => msg === "asking for tasks");
    const jobId = await cluster.submit(jobOn(source, job, { extractors: 3, trainers: 3 }));
    expect(await cluster.finished(jobId)).toBe(result.metrics.weightsSha256);

    const { status } = await cluster.jobs.getJob({ name: jobId });
    expect(status.progress).toMatchObject({ pictures: 1_250, extracted: 1_250, cached: 0, rejected: 0 });
    for (const extractor of names("extractor")) await cluster.process(extractor).logged(({ msg }) => msg === "task committed");
    const steps = status.progress?.steps ?? 0;
    expect(steps).toBeGreaterThan(0);
    for (const trainer of names("trainer")) {
      const left = await cluster.process(trainer).logged(({ msg }) => msg === "left a generation");
      expect(left["grains"]).toBeGreaterThanOrEqual(2 * steps); // of eight grains a step
      expect(left["sentBytes"]).toBeGreaterThan(1_000_000);
    }
    expect(await cluster.generations(jobId)).toEqual([names("trainer")]);
  },
);
