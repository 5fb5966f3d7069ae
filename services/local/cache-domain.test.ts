import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { imageIdAt, imageIdCount } from "../../domain/features/image-ids.js";
import type { Milestone, PlanRecord } from "../../domain/job/records.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import type { ListedPicture } from "../../domain/dataset/listing.js";
import { elementCount } from "../../domain/network/network.js";
import { planRecord } from "../../formats/job-records/job-records.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { FeatureStore } from "../../platform/feature-store/feature-store.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { resultOf } from "../../test/support/job-result.js";
import { jobOn, samplePictures, smallJob } from "../../test/support/local-jobs.js";
import { RecalledIdentities } from "../extractor/identities.js";
import { type Local, openLocal } from "./local.js";
import { type LocalPlan, planLocalJob } from "./plan-job.js";
import { runLocalJob } from "./run-job.js";

const PICTURES = 25;
const small: JobSpec = { ...smallJob, training: { steps: 20, batchSize: 16, evaluateEverySteps: 10 } };

/** One process with a store and 25 pictures: what a pool of workers is to jobs of many domains. */
class Fixture {
  readonly local: Local;
  readonly pictures: string;

  private constructor(local: Local, pictures: string) {
    this.local = local;
    this.pictures = pictures;
  }

  static async open(): Promise<Fixture> {
    const folder = mkdtempSync(join(tmpdir(), "graft-domains-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    return new Fixture(await openLocal(join(folder, "store")), samplePictures(join(folder, "pictures"), PICTURES / 5));
  }

  spec(cacheDomain: string | undefined, change: JobSpec = {}): JobSpec {
    return jobOn(this.pictures, { ...small, ...change, ...(cacheDomain !== undefined && { cacheDomain }) });
  }

  /** Of a job that ran: what it extracted, and its digests. */
  async run(cacheDomain: string | undefined, change: JobSpec = {}, milestone: (milestone: Milestone) => void = () => undefined) {
    const job = resolveJob(this.spec(cacheDomain, change));
    await findOrAddBackbone(this.local.backbones, job.backbone.name, job.backbone.digest);
    const outcome = await runLocalJob(this.local, {
      job,
      name: "test",
      out: "out",
      announce: () => undefined,
      signal: new AbortController().signal,
      milestone,
    });
    const { jobId, metrics, files } = await resultOf(outcome, {});
    const { extracted, cached } = metrics.extraction;
    return { jobId, extracted, cached, weightsSha256: metrics.weightsSha256, passport: files["passport.json"] };
  }

  async plan(cacheDomain: string | undefined): Promise<LocalPlan["plan"]> {
    const dataset = await this.local.openDataset(this.pictures);
    const options = { read: false, probe: false, progress: () => undefined };
    return (await planLocalJob(this.local, resolveJob(this.spec(cacheDomain)), dataset, options)).plan;
  }

  async factsOf(jobId: string): Promise<{ readonly plan: PlanRecord; readonly listing: readonly ListedPicture[] }> {
    const objects = new JobObjects(this.local.store, jobId);
    return { plan: (await objects.readJson("plan.json", planRecord))!, listing: await objects.readListing(0) };
  }

  async keys(): Promise<string[]> {
    const keys: string[] = [];
    for await (const key of this.local.store.list("")) keys.push(key);
    return keys;
  }
}

describe("features are shared in one domain only", () => {
  test("in one domain a second job extracts nothing, in another everything, with the same weights", async () => {
    const fixture = await Fixture.open();
    const first = await fixture.run("a");
    expect([first.extracted, first.cached]).toEqual([PICTURES, 0]);
    const roots = (await fixture.keys()).filter((key) => !/^(backbones|jobs)\/|^graft-store.json$/.test(key));
    expect(new Set(roots.map((key) => key.split("/").slice(0, 3).join("/")))).toEqual(
      new Set(["domains/a/features", "domains/a/identities"]),
    );

    const seen = { weightsSha256: first.weightsSha256, passport: first.passport };
    expect(await fixture.run("a")).toMatchObject({ extracted: 0, cached: PICTURES, ...seen });
    for (const other of ["b", undefined]) {
      expect(await fixture.run(other)).toMatchObject({ extracted: PICTURES, cached: 0, ...seen });
      expect(await fixture.run(other)).toMatchObject({ extracted: 0, cached: PICTURES, ...seen });
    }
  });

  test("a plan counts what its domain holds, and takes the speeds that were measured there", async () => {
    const fixture = await Fixture.open();
    await fixture.run("a");
    const cases = ["a", "b", undefined].map(async (domain) => {
      const { extraction, training } = await fixture.plan(domain);
      const origins = [extraction.imagesPerSecond.origin, training.millisecondsPerStep.origin];
      return [extraction.cached.value, extraction.toExtract.value, extraction.toExtract.exact, ...origins];
    });
    expect(await Promise.all(cases)).toEqual([
      [PICTURES, 0, true, "measured", "measured"],
      [0, PICTURES, false, "assumed", "assumed"],
      [0, PICTURES, false, "assumed", "assumed"],
    ]);
  });

  test("lanes of a streamed job lie in its domain", async () => {
    const fixture = await Fixture.open();
    const streamed: JobSpec = {
      views: { count: 12, horizontalFlip: true, shift: { maxWidth: 0.2, maxHeight: 0.2 } },
      training: { ...small.training, featureMemoryMib: 1 },
    };
    expect((await fixture.run("a", streamed)).extracted).toBe(PICTURES);
    const lanes = (await fixture.keys()).filter((key) => key.includes("/lanes/"));
    expect(lanes.length).toBeGreaterThan(0);
    expect(lanes.filter((key) => !key.startsWith("domains/a/features/"))).toEqual([]);
  });

  test("a job never goes on with what an interrupted one of another domain began", async () => {
    const fixture = await Fixture.open();
    const interrupt = (milestone: Milestone): void => {
      if (milestone === "after samples") throw new CodedError("INTERRUPTED", "interrupted");
    };
    await expect(fixture.run("a", {}, interrupt)).rejects.toMatchObject({ code: "INTERRUPTED" });
    const [begun] = readdirSync(join(fixture.local.store.location, "jobs"));
    const other = await fixture.run("b");
    expect(other.jobId).not.toBe(begun);
    expect(other.extracted).toBe(PICTURES);
    expect((await fixture.run("a")).jobId).toBe(begun);
  });
});

describe("what is poisoned in one domain harms no job of another", () => {
  test("features", async () => {
    const fixture = await Fixture.open();
    const clean = await fixture.run(undefined);
    const { plan } = await fixture.factsOf(clean.jobId);

    // Noise under the ids of every picture, as whoever may write to the domain can put there.
    const { imageIds } = await new JobObjects(fixture.local.store, clean.jobId).readSamples(0);
    const rows = imageIdCount(imageIds);
    const features = Float32Array.from({ length: rows * elementCount(plan.featureShape) }, (_, at) => (at * 37) % 11);
    const poisoned = await FeatureStore.open(fixture.local.domain("a").store, plan.featureSpec);
    await poisoned.append([await poisoned.writeShard({ view: 0, imageIds, features })]);

    const harmed = await fixture.run("a");
    expect([harmed.extracted, harmed.cached]).toEqual([0, PICTURES]);
    expect(harmed.weightsSha256).not.toBe(clean.weightsSha256);
    expect(await fixture.run("b")).toMatchObject({ extracted: PICTURES, weightsSha256: clean.weightsSha256 });
    expect(await fixture.run(undefined)).toMatchObject({ extracted: 0, weightsSha256: clean.weightsSha256 });
  });

  test("identities", async () => {
    const fixture = await Fixture.open();
    const clean = await fixture.run(undefined);
    const { listing } = await fixture.factsOf(clean.jobId);
    expect(await fixture.run("a")).toMatchObject({ extracted: PICTURES, weightsSha256: clean.weightsSha256 });

    // Every picture is said to be the one behind it, so that labels and features no longer belong together.
    const { imageIds } = await new JobObjects(fixture.local.store, clean.jobId).readSamples(0);
    const { source } = await fixture.local.openDataset(fixture.pictures);
    const { version } = fixture.local.decoder();
    const poisoned = new RecalledIdentities(fixture.local.domain("a").identities, source.location, version);
    await poisoned.remember(
      listing.map((picture, row) => ({ picture, identity: { kind: "image", imageId: imageIdAt(imageIds, (row + 7) % PICTURES) } })),
    );
    const harmed = await fixture.run("a");
    expect([harmed.extracted, harmed.cached]).toEqual([0, PICTURES]);
    expect(harmed.weightsSha256).not.toBe(clean.weightsSha256);
    expect(await fixture.run("b")).toMatchObject({ extracted: PICTURES, weightsSha256: clean.weightsSha256 });
    expect(await fixture.run(undefined)).toMatchObject({ extracted: 0, weightsSha256: clean.weightsSha256 });
  });
});
