import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { resolveJob } from "../../domain/job/resolve.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { samplesRecord } from "../../formats/job-records/job-records.js";
import { findOrAddBackbone } from "../../platform/backbone-store/bundled.js";
import { type Local, openLocal } from "../../services/local/local.js";
import { runLocalJob } from "../../services/local/run-job.js";
import { countingDecodes, countingReads } from "../support/counting.js";
import { type JobResult, resultOf } from "../support/job-result.js";
import { finished, JobProcess, jobOn, samplePictures, smallJob, temporaryFolder } from "../support/local-jobs.js";

const PER_CLASS = 14;
const PICTURES = 5 * PER_CLASS;
const job: JobSpec = { ...smallJob, training: { ...smallJob.training, steps: 40 } };

let folder: ReturnType<typeof temporaryFolder>;
let pictures: string;
let store: string;

beforeEach(() => {
  folder = temporaryFolder();
  pictures = samplePictures(join(folder.path, "pictures"), PER_CLASS);
  store = join(folder.path, "store");
});
afterEach(() => folder.remove());

interface Run {
  readonly result: JobResult;
  /** Paths of the pictures whose bytes were read. */
  readonly read: readonly string[];
  readonly decoded: number;
  readonly warnings: readonly string[];
}

/** Runs a job in this process, with adapters of its own as a new process would have. */
async function run(spec: JobSpec = jobOn(pictures, job), change: (local: Local) => Local = (local) => local): Promise<Run> {
  const read: string[] = [];
  const warnings: string[] = [];
  let decoded = 0;
  const local = change(
    countingReads(
      countingDecodes(await openLocal(store), () => decoded++),
      (path) => read.push(path),
    ),
  );
  const resolved = resolveJob(spec);
  await findOrAddBackbone(local.backbones, resolved.backbone.name, resolved.backbone.digest);
  const outcome = await runLocalJob(local, {
    job: resolved,
    name: "test",
    out: "out",
    announce: (event) => {
      if (event.kind === "warning") warnings.push(event.message);
    },
    signal: new AbortController().signal,
  });
  const samples = await outcome.job.readJson("samples/summary.json", samplesRecord);
  return { result: await resultOf(outcome, samples?.extraction.workers ?? {}), read, decoded, warnings };
}

function filesUnder(path: string, ending: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(path, name))
    .sort();
}

function flipByte(file: string): void {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length * 0.7);
  bytes[at] = bytes[at]! ^ 0x10;
  writeFileSync(file, bytes);
}

const shards = (): string[] => filesUnder(join(store, "features"), ".arrow").filter((file) => file.includes("/shards/"));
const quarantined = (): string[] => filesUnder(join(store, "features"), ".arrow").filter((file) => file.includes("/quarantine/"));

describe("work is never done twice", () => {
  test("a second run reads no picture and has the same digest", async () => {
    const first = await run();
    expect([first.read.length, first.decoded, first.result.metrics.extraction.extracted]).toEqual([PICTURES, PICTURES, PICTURES]);
    const second = await run();
    expect(second).toMatchObject({ read: [], decoded: 0 });
    expect(second.result.metrics.extraction).toMatchObject({ extracted: 0, cached: PICTURES });
    expect(second.result.metrics.weightsSha256).toBe(first.result.metrics.weightsSha256);
  });

  test("another learning rate and another split seed read no picture", async () => {
    const first = await run();
    for (const change of [
      { training: { ...job.training, optimizer: { adam: { learningRate: 0.01 } } } },
      { dataset: { split: { seed: 7 } } },
    ]) {
      const other = await run(jobOn(pictures, { ...job, ...change }));
      expect(other).toMatchObject({ read: [], decoded: 0 });
      expect(other.result.metrics.weightsSha256).not.toBe(first.result.metrics.weightsSha256);
    }
  });

  test("one added picture is the only one that is read; renamed, moved and re-labelled ones are read and not decoded", async () => {
    await run();
    const spare = samplePictures(join(folder.path, "all"));
    const [label, next] = readdirSync(pictures).sort();
    const [name, moved] = readdirSync(join(pictures, label!)).sort();
    const added = readdirSync(join(spare, label!)).sort()[PER_CLASS]!;
    copyFileSync(join(spare, label!, added), join(pictures, label!, added));
    expect(await run()).toMatchObject({ read: [`${label!}/${added}`], decoded: 1 });

    renameSync(join(pictures, label!, name!), join(pictures, label!, "renamed.jpg"));
    renameSync(join(pictures, label!, moved!), join(pictures, next!, moved!));
    const after = await run();
    expect([...after.read].sort()).toEqual([`${label!}/renamed.jpg`, `${next!}/${moved!}`].sort());
    expect(after.decoded).toBe(0);
    // Where they lie now is known from then on.
    expect((await run()).read).toEqual([]);
  });

  test("a finished job leaves no checkpoint, and its status says that it is complete", async () => {
    const { result } = await run();
    expect(
      readdirSync(join(store, "jobs", result.jobId, "checkpoints"), { recursive: true, encoding: "utf8" }).filter((name) =>
        name.endsWith("state"),
      ),
    ).toEqual([]);
    const status: unknown = JSON.parse(readFileSync(join(store, "jobs", result.jobId, "status.json"), "utf8"));
    expect(status).toMatchObject({
      phase: "Complete",
      pictures: PICTURES,
      tasks: 2,
      tasksCommitted: 2,
      trainers: 1,
      generation: 0,
      failure: null,
    });
  });
});

describe("damage is noticed and mended, with the same digest", () => {
  test.each<[string, number, (file: string) => void]>([
    ["a byte of a shard flipped, one trainer", 1, flipByte],
    ["a byte of a shard flipped, three trainers", 3, flipByte],
    ["a shard gone, two trainers", 2, (file) => rmSync(file)],
  ])("%s", async (_name, trainers, damage) => {
    const first = await run();
    const [file] = shards();
    damage(file!);
    const second = await run(jobOn(pictures, job, { trainers, extractors: 2 }));
    expect(second.result.metrics.weightsSha256).toBe(first.result.metrics.weightsSha256);
    expect(second.decoded).toBeGreaterThan(0);
    expect(second.decoded).toBeLessThan(PICTURES);
    expect(second.read).toHaveLength(second.decoded);
    expect(second.warnings).toContain(
      `${String(second.decoded)} pictures are extracted again: their features were damaged and are quarantined`,
    );
    expect(quarantined()).toHaveLength(damage === flipByte ? 1 : 0);
    const third = await run();
    expect(third).toMatchObject({ read: [], decoded: 0 });
    expect(third.warnings.filter((warning) => warning.includes("again"))).toEqual([]);
  });

  test("every shard damaged while training goes on from a checkpoint", async () => {
    const long = { ...job, training: { ...job.training, steps: 120 } };
    const spec = jobOn(pictures, long, { trainers: 2 });
    const undisturbed = await run(jobOn(pictures, long));
    rmSync(store, { recursive: true });
    expect((await new JobProcess({ store, spec, kill: { milestone: "between updates", occurrence: 150 } }).end).signal).toBe("SIGKILL");
    shards().forEach(flipByte);
    const resumed = await run(spec);
    expect(resumed.result.metrics.weightsSha256).toBe(undisturbed.result.metrics.weightsSha256);
    expect(resumed.decoded).toBe(PICTURES);
    expect(resumed.result.grainsComputed["trainer-0"]).toBe((120 - 50) * 4);
  });

  test.each([1, 3])("a damaged checkpoint falls back to the one before, %i trainers", async (trainers) => {
    const long = { ...job, training: { ...job.training, steps: 200 } };
    const undisturbed = await run(jobOn(pictures, long));
    rmSync(store, { recursive: true });
    const spec = jobOn(pictures, long, { trainers });
    const end = await new JobProcess({ store, spec, kill: { milestone: "between updates", occurrence: 130 * trainers } }).end;
    expect(end.signal).toBe("SIGKILL");
    const states = filesUnder(join(store, "jobs"), "state");
    expect(states.map((file) => /checkpoints\/(\d+)\/state$/.exec(file)?.[1])).toEqual(["100", "50"]);
    flipByte(states[0]!);
    const resumed = await run(spec);
    expect(resumed.result.metrics.weightsSha256).toBe(undisturbed.result.metrics.weightsSha256);
    const grains = Object.values(resumed.result.grainsComputed).reduce((sum, count) => sum + count);
    expect(grains).toBe((200 - 50) * 8);
  });

  test("a damaged status is written anew", async () => {
    const { result } = await run();
    writeFileSync(join(store, "jobs", result.jobId, "status.json"), "{");
    expect((await run()).result.metrics.weightsSha256).toBe(result.metrics.weightsSha256);
  });
});

describe("two processes on one store at the same time", () => {
  test("equal specs: both complete with the same digest", async () => {
    const spec = jobOn(pictures, job, { trainers: 2, extractors: 2 });
    const [a, b] = await Promise.all([finished({ store, spec }), finished({ store, spec })]);
    expect(a.result.metrics.weightsSha256).toBe(b.result.metrics.weightsSha256);
    expect(a.result.jobId).not.toBe(b.result.jobId);
    expect(await run()).toMatchObject({ read: [], result: { metrics: { weightsSha256: a.result.metrics.weightsSha256 } } });
  });

  test("different specs: each has the digest that it has alone", async () => {
    const specs = [jobOn(pictures, job), jobOn(pictures, { ...job, training: { ...job.training, seed: 5 } }, { extractors: 2 })];
    const together = await Promise.all(specs.map((spec) => finished({ store, spec })));
    store = join(folder.path, "other-store");
    const alone = [await run(specs[0]), await run(specs[1])];
    expect(together.map(({ result }) => result.metrics.weightsSha256)).toEqual(alone.map(({ result }) => result.metrics.weightsSha256));
    expect(together[0]!.result.metrics.weightsSha256).not.toBe(together[1]!.result.metrics.weightsSha256);
  });
});

describe("a worker that fails", () => {
  test("a picture that cannot be read fails the job and rejects nothing; what was extracted is kept", async () => {
    const [label] = readdirSync(pictures).sort().slice(-1);
    const broken = `${label!}/${readdirSync(join(pictures, label!)).sort().at(-1)!}`;
    // Fails when most of the others are ready.
    let ready = 0;
    let failNow = (): void => undefined;
    const othersAreReady = new Promise<void>((resolve) => (failNow = resolve));
    const unreadable = (local: Local): Local => ({
      ...local,
      openDataset: async (location) => {
        const { source, manifest } = await local.openDataset(location);
        const fail = async (): Promise<never> => {
          await othersAreReady;
          throw new CodedError("DATASET_UNREADABLE", `${broken}: EIO`);
        };
        return {
          source: {
            location: source.location,
            list: () => source.list(),
            read: (file) => (file.path === broken ? fail() : source.read(file)),
          },
          manifest,
        };
      },
      decoder: () => {
        const decoder = local.decoder();
        const thumbnail: typeof decoder.thumbnail = async (...inputs) => {
          if (++ready === 40) failNow();
          return decoder.thumbnail(...inputs);
        };
        return {
          version: decoder.version,
          decode: (...inputs) => decoder.decode(...inputs),
          decodeViews: (...inputs) => decoder.decodeViews(...inputs),
          thumbnail,
        };
      },
    });
    await expect(run(jobOn(pictures, job, { extractors: 3 }), unreadable)).rejects.toMatchObject({
      code: "DATASET_UNREADABLE",
      message: `${broken}: EIO`,
    });
    const [jobId] = readdirSync(join(store, "jobs"));
    const status: unknown = JSON.parse(readFileSync(join(store, "jobs", jobId!, "status.json"), "utf8"));
    expect(status).toMatchObject({ phase: "Extracting", failure: { code: "DATASET_UNREADABLE" } });
    // The same job goes on once the disk is mended.
    const mended = await run();
    expect(mended.result.jobId).toBe(jobId);
    expect(mended.decoded).toBeLessThan(PICTURES);
    expect(mended.result.metrics.extraction.rejected).toBe(0);
  });

  test("a trainer that fails ends the others at once", async () => {
    const failing = (local: Local): Local => {
      let compiled = 0;
      return {
        ...local,
        engine: async (name) => {
          const engine = await local.engine(name);
          return Object.assign(Object.create(engine) as typeof engine, {
            compileGradient: async (...inputs: Parameters<typeof engine.compileGradient>) => {
              const gradient = await engine.compileGradient(...inputs);
              if (compiled++ > 0) return gradient;
              let calls = 0;
              return {
                run: (input: Parameters<typeof gradient.run>[0]) =>
                  ++calls > 20 ? Promise.reject(new Error("the device is gone")) : gradient.run(input),
                release: () => gradient.release(),
              };
            },
          });
        },
      };
    };
    const startMs = performance.now();
    await expect(run(jobOn(pictures, job, { trainers: 3 }), failing)).rejects.toThrow("the device is gone");
    // Far below the minute after which a trainer gives up waiting for another.
    expect(performance.now() - startMs).toBeLessThan(30_000);
  });
});
