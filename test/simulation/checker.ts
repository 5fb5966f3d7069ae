import { sha256Hex } from "../../domain/features/sha256.js";
import { hashOfWeights, isHello } from "../../domain/training/exchange/message.js";
import type { TaskCommit } from "../../domain/job/records.js";
import { imageIdAt } from "../../domain/features/image-ids.js";
import { listingRecord, planRecord, resultRecord, samplesRecord, commitRecord } from "../../formats/job-records/job-records.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import type { Member } from "../../platform/work-service/work-service.js";
import type { Picture } from "./pictures.js";
import type { SimulatedProcess } from "./process.js";
import type { CallObserver, CoordinatorProcess } from "./work-link.js";

/** What an undisturbed run of the same spec went through. */
export interface Reference {
  /** Hash of the weights after so many steps: `[step]`. */
  readonly hashes: readonly string[];
  readonly weightsSha256: string;
}

/** Calls that only a member of the generation that stands may make. */
const fenced: ReadonlySet<string> = new Set(["commitCheckpoint", "reportPhase", "commitResult"]);

/** Watches a world and remembers what must not have happened. */
export class Checker {
  readonly violations: string[] = [];
  readonly #reference: Reference | undefined;
  readonly #known: ReadonlySet<string>;
  /** Hashes of the weights that gradients were computed with, in their order, and those behind the last one. A single trainer without faults computes one gradient a step. */
  readonly #gradients: string[] = [];
  #afterLast: string | undefined;
  readonly #committed = new Set<number>();
  /** The newest generation that each coordinator knows of. */
  readonly #newest = new Map<CoordinatorProcess, number>();

  constructor(reference: Reference | undefined) {
    this.#reference = reference;
    this.#known = new Set(reference?.hashes);
  }

  violated(what: string): void {
    this.violations.push(what);
  }

  /** Of an undisturbed run: the hash of the weights after each step. */
  get hashes(): string[] {
    return [...this.#gradients, ...(this.#afterLast === undefined ? [] : [this.#afterLast])];
  }

  /** A trainer computes with these weights. */
  computing(process: SimulatedProcess, what: "gradient" | "evaluation", parameters: Float32Array): void {
    if (!process.isAlive) return;
    const hash = hashOfWeights(parameters);
    if (what === "gradient") {
      this.#gradients.push(hash);
      this.#afterLast = undefined;
    } else this.#afterLast ??= hash;
    if (this.#reference !== undefined && !this.#known.has(hash))
      this.violated(`${process.name} computes with weights ${hash}, which the undisturbed run never had`);
  }

  /** A trainer publishes a message, which names its step and the hash of its weights (domain/training/exchange/message.ts). */
  published(process: SimulatedProcess, payload: Uint8Array): void {
    if (this.#reference === undefined || isHello(payload)) return;
    const step = new DataView(payload.buffer, payload.byteOffset).getFloat64(32, true);
    const hash = Buffer.from(payload.subarray(64, 80)).toString("hex");
    if (this.#reference.hashes[step] !== hash)
      this.violated(
        `${process.name}: its weights after step ${step} are ${hash}, those of the undisturbed run ${String(this.#reference.hashes[step])}`,
      );
  }

  coordinatorStarted(coordinator: CoordinatorProcess, newestGeneration: number): void {
    this.#newest.set(coordinator, newestGeneration);
  }

  /** Sees what a coordinator accepts. */
  readonly observe: CallObserver = async (served, method, args, serve): Promise<unknown> => {
    const newest = this.#newest.get(served) ?? -1;
    const answer = await serve();
    if (fenced.has(method)) {
      const { trainer, generation } = args[0] as Member;
      if (generation < newest)
        this.violated(`${served.process.name} accepted ${method} of ${trainer} in generation ${generation} after it opened ${newest}`);
    }
    if (method === "joinTraining") {
      const joined = answer as { readonly kind: string; readonly generation?: number };
      if (joined.kind === "generation") this.#newest.set(served, Math.max(this.#newest.get(served) ?? -1, joined.generation!));
    }
    if (method === "commitTask" && answer === "committed") {
      const { task } = args[1] as TaskCommit;
      if (this.#committed.has(task)) this.violated(`task ${task} was committed twice`);
      this.#committed.add(task);
    }
    return answer;
  };

  /** What the store of an ended job must hold. */
  async checkStore(store: ObjectStore, jobId: string, pictures: readonly Picture[]): Promise<string | undefined> {
    const job = new JobObjects(store, jobId);
    const listing = await job.readJson("listing/summary.json", listingRecord);
    const samples = await job.readJson("samples/summary.json", samplesRecord);
    const result = await job.readJson("result.json", resultRecord);
    const plan = await job.readJson("plan.json", planRecord);
    if (listing === undefined || plan === undefined || samples === undefined || result === undefined) {
      this.violated("the job ended without one of listing, plan, samples and result");
      return undefined;
    }
    await this.#checkRows(job, listing.tasks, pictures);
    const rejected = pictures.filter(({ isRejected }) => isRejected).map(({ path }) => path);
    const listed = samples.rejected.map(({ uri }) => uri).sort();
    if (listed.join() !== rejected.sort().join()) this.violated(`rejected are ${rejected.join()}, the summary lists ${listed.join()}`);

    const passport = JSON.parse(Buffer.from((await job.readResult("passport.json")) ?? []).toString("utf8")) as {
      files: Record<string, string>;
    };
    for (const [name, sha256] of Object.entries(passport.files)) {
      const body = await job.readResult(name);
      if (body === undefined || sha256Hex(body) !== sha256) this.violated(`result/${name} is not what the passport says`);
    }
    const events: string[] = [];
    for await (const name of job.resultFiles()) if (name.startsWith("events/")) events.push(name);
    if (events.length !== 1) this.violated(`the result has ${events.length} event files: ${events.join()}`);
    if (this.#reference !== undefined && result.weightsSha256 !== this.#reference.weightsSha256)
      this.violated(
        `the result has weightsSha256 ${result.weightsSha256}, that of the undisturbed run is ${this.#reference.weightsSha256}`,
      );
    return result.weightsSha256;
  }

  /** Every picture is in exactly one committed row, under the SHA-256 of its bytes or with the reason why it is none; and once in the sample table at most. */
  async #checkRows(job: JobObjects, tasks: number, pictures: readonly Picture[]): Promise<void> {
    const byPath = new Map(pictures.map((picture) => [picture.path, picture]));
    const rowsOf = new Map<string, number>();
    for (let task = 0; task < tasks; task++) {
      const commit = await job.readCommit(task, commitRecord);
      if (commit === undefined) {
        this.violated(`task ${task} has no commit`);
        continue;
      }
      const ids = Buffer.from(commit.imageIds, "base64");
      const rejected = new Set(commit.rejected.map(({ row }) => row));
      for (const [row, { uri }] of (await job.readListing(task)).entries()) {
        rowsOf.set(uri, (rowsOf.get(uri) ?? 0) + 1);
        const picture = byPath.get(uri);
        const expected = picture === undefined || picture.isRejected ? "rejected" : sha256Hex(picture.content);
        const found = rejected.has(row) ? "rejected" : imageIdAt(ids, row);
        if (found !== expected) this.violated(`task ${task}: ${uri} is committed as ${found}, expected ${expected}`);
      }
    }
    for (const { path } of pictures) if (rowsOf.get(path) !== 1) this.violated(`${path} is in ${rowsOf.get(path) ?? 0} committed rows`);
    const samples = await job.readJson("samples/summary.json", samplesRecord);
    const uris: string[] = [];
    for (let part = 0; part < samples!.parts; part++) uris.push(...(await job.readSamples(part)).uris);
    if (new Set(uris).size !== uris.length) this.violated("a picture is twice in the sample table");
  }
}
