import { CodedError, endsJob } from "../../domain/errors.js";
import type { Milestone, PlanRecord } from "../../domain/job/records.js";
import { RandomStream, randomKey } from "../../domain/random.js";
import { resultRecord } from "../../formats/job-records/job-records.js";
import { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import { IdentityStore } from "../../platform/identity-store/identity-store.js";
import { JobFeatures } from "../../platform/job-features/job-features.js";
import { LaneStore } from "../../platform/lane-store/lane-store.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { objectJobStore } from "../../platform/job-store/object-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { Jobs } from "../../services/coordinator/jobs.js";
import { WorkRouter } from "../../services/coordinator/work-router.js";
import { runExtractor } from "../../services/extractor/extractor.js";
import { loadTrainingSet } from "../../services/trainer/training-set.js";
import { runTrainer } from "../../services/trainer/trainer.js";
import { limits } from "../../domain/limits.js";
import { Slots } from "../../services/extractor/slots.js";
import { SimulatedBus } from "./bus-link.js";
import { Checker, type Reference } from "./checker.js";
import { simulatedEngine, simulatedProfile } from "./engine.js";
import { factStore } from "./facts.js";
import type { Swarm } from "./faults.js";
import { simulatedBackbone, simulatedJob } from "./jobs.js";
import { Network } from "./network.js";
import { datasetLink, makePictures, simulatedDecoder, type Picture } from "./pictures.js";
import { SimulatedProcess } from "./process.js";
import { storeLink } from "./store-link.js";
import { VirtualClock } from "../support/virtual-clock.js";
import { workLink, type CoordinatorProcess } from "./work-link.js";

const JOB = "job";
/** Time until a pod that ended is started again. */
const RESTART_MS = 2_000;
/** Within this time a coordinator notices that it has lost its lease on the cluster. */
const NOTICE_MS_MAX = 10_000;
/** Moments that a world may take; a run without faults takes some 3,000. */
const TICKS_MAX = 300_000;

/** A pod: whatever its process ends of, it is started again under a new name, until the job needs it no more. */
export interface Pod {
  readonly host: string;
  readonly role: "coordinator" | "extractor" | "trainer";
  process: SimulatedProcess | undefined;
  starts: number;
  isDone: boolean;
}

export interface WorldOptions {
  readonly seed: number;
  readonly pictures: number;
  readonly swarm: Swarm;
  /** Undefined: this is the undisturbed run itself. */
  readonly reference: Reference | undefined;
}

/** A cluster of one job in virtual time. Everything that happens in it follows from its options. */
export class World {
  readonly clock = new VirtualClock();
  readonly random: RandomStream;
  readonly network: Network;
  readonly checker: Checker;
  readonly store: ObjectStore;
  readonly pods: readonly Pod[];
  /** What happened, for whoever repeats a seed. */
  readonly journal: string[] = [];
  readonly #options: WorldOptions;
  readonly #pictures: readonly Picture[];
  readonly #bus: SimulatedBus;
  readonly #ambushes: { readonly milestone: Milestone; after: number; readonly freezeMs: number | undefined }[];
  #coordinator: CoordinatorProcess | undefined;
  #isQuiet = false;
  #keys = 0;

  constructor(options: WorldOptions) {
    const { seed, swarm, reference } = options;
    this.#options = options;
    this.random = new RandomStream(randomKey(seed, "simulation"));
    this.network = new Network(this.clock, this.random);
    this.checker = new Checker(reference);
    this.store = factStore(this.clock, (what) => this.checker.violated(what));
    this.#pictures = makePictures(options.pictures);
    this.#bus = new SimulatedBus(this.network, {
      published: (process, payload) => this.checker.published(process, payload),
      handlerFailed: (process, error) => this.checker.violated(`${process.name}: a handler of the bus threw ${String(error)}`),
    });
    this.#ambushes = swarm.ambushes.map((ambush) => ({ ...ambush }));
    const pod = (host: string, role: Pod["role"]): Pod => ({ host, role, process: undefined, starts: 0, isDone: false });
    this.pods = [
      pod("coordinator", "coordinator"),
      ...Array.from({ length: swarm.extractors }, (_, index) => pod(`extractor-${index}`, "extractor")),
      ...Array.from({ length: swarm.trainers }, (_, index) => pod(`trainer-${index}`, "trainer")),
    ];
  }

  /** Submits the job and starts the pods, some of them late. */
  async begin(): Promise<void> {
    const { recipe, trainers, trainersLeast } = this.#options.swarm;
    await new BackboneStore(this.store).add(simulatedBackbone);
    const record = {
      formatVersion: 1,
      requestId: JOB,
      name: "simulation",
      out: "out",
      submittedMs: this.clock.now(),
      ...simulatedJob(recipe, { min: trainersLeast, max: trainers }),
    };
    await objectJobStore(this.store).create(JOB, record);
    this.network.conditions = this.#options.swarm.links;
    for (const pod of this.pods) this.clock.after(this.random.below(pod.role === "coordinator" ? 10 : 5_000), () => this.start(pod));
  }

  /** Extractors, and in some worlds trainers, belong to no job: they wait for the next one when this one has ended. */
  #isOfPool({ role }: Pod): boolean {
    return role === "extractor" || (role === "trainer" && this.#options.swarm.isPool);
  }

  /** Runs to the end of the job, but no longer. */
  async run(untilMs: number): Promise<"done" | "late" | "stuck"> {
    const isDone = (): boolean => this.checker.violations.length > 0 || this.pods.every((pod) => pod.isDone || this.#isOfPool(pod));
    return this.clock.run(isDone, untilMs, TICKS_MAX);
  }

  /** Goes on after the end of the job, as far as nothing is wrong. */
  async linger(durationMs: number): Promise<void> {
    await this.clock.run(() => this.checker.violations.length > 0, this.clock.monotonic() + durationMs, TICKS_MAX);
  }

  /** No fault from now on, and what is broken gets better. */
  heal(): void {
    this.note("heal");
    this.#isQuiet = true;
    this.network.heal();
    for (const { process } of this.pods) process?.thaw();
  }

  get isQuiet(): boolean {
    return this.#isQuiet;
  }

  async check(): Promise<string | undefined> {
    return this.checker.checkStore(this.store, JOB, this.#pictures);
  }

  note(what: string): void {
    this.journal.push(`${String(this.clock.monotonic()).padStart(8)} ms: ${what}`);
  }

  // ---- pods ----

  start(pod: Pod): void {
    if (pod.isDone && pod.role !== "coordinator") return;
    pod.isDone = false; // a coordinator that is started anew finds for itself that the job has ended, and answers those who were away
    if (pod.process?.isAlive === true) this.#retire(pod.process);
    this.note(`start ${pod.host}.${pod.starts}`);
    const process = new SimulatedProcess(`${pod.host}.${pod.starts++}`, pod.host, this.clock);
    pod.process = process;
    const life =
      pod.role === "coordinator" ? this.#coordinate(process) : pod.role === "extractor" ? this.#extract(process) : this.#train(process);
    life.then(
      () => this.#ended(pod, process, undefined),
      (error: Error) => this.#ended(pod, process, error),
    );
  }

  /** SIGKILL; a new process takes its place. */
  kill(pod: Pod, restartMs = RESTART_MS): void {
    const { process } = pod;
    if (process?.isAlive !== true) return;
    this.note(`kill ${process.name}`);
    process.kill();
    this.#restart(pod, process, restartMs);
  }

  /** SIGSTOP, and SIGCONT after a while. */
  freeze(process: SimulatedProcess, durationMs: number): void {
    if (!process.isRunning) return;
    this.note(`freeze ${process.name} for ${durationMs} ms`);
    process.freeze();
    this.clock.after(durationMs, () => process.thaw());
  }

  /** Pauses the coordinator, starts another one, and lets the paused one wake up beside it. */
  replaceCoordinator(pausedMs: number): void {
    const [pod] = this.pods;
    const { process } = pod!;
    if (process?.isRunning !== true) return;
    this.freeze(process, pausedMs);
    this.clock.after(pausedMs / 2, () => this.start(pod!));
  }

  /** A coordinator that another one has taken the place of ends once it notices, which it can only while it is awake. */
  #retire(process: SimulatedProcess): void {
    const notice = (): void => {
      if (!process.isAlive) return;
      if (process.isRunning) {
        this.note(`${process.name} notices that it was replaced`);
        process.kill();
      } else this.clock.after(this.random.below(NOTICE_MS_MAX), notice);
    };
    this.clock.after(this.random.below(NOTICE_MS_MAX), notice);
  }

  #restart(pod: Pod, ended: SimulatedProcess, afterMs: number): void {
    this.clock.after(afterMs, () => {
      if (pod.process === ended) this.start(pod);
    });
  }

  /** A worker that nobody needs any more ends well; one that fails is started again, as long as its failure is one that passes. */
  #ended(pod: Pod, process: SimulatedProcess, error: Error | undefined): void {
    if (!process.isAlive) return;
    if (error === undefined) {
      this.note(`${process.name} is done`);
      if (pod.role === "coordinator") {
        if (pod.process === process) pod.isDone = true;
        return; // it goes on answering
      }
      process.kill();
      if (process.stop.signal.aborted) this.#restart(pod, process, RESTART_MS);
      else {
        this.#checkThatResultStands(process);
        pod.isDone = true;
      }
      return;
    }
    this.note(`${process.name} fails: ${error.message}`);
    process.kill();
    if (!(error instanceof CodedError) || endsJob(error.code))
      this.checker.violated(`${process.name} fails: ${error.stack ?? error.message}`);
    this.#restart(pod, process, RESTART_MS);
  }

  #checkThatResultStands(process: SimulatedProcess): void {
    void new JobObjects(this.store, JOB).readJson("result.json", resultRecord).then((result) => {
      if (result === undefined) this.checker.violated(`${process.name} was told that the job needs it no more, and there is no result`);
    });
  }

  async #coordinate(process: SimulatedProcess): Promise<void> {
    const store = storeLink(process, this.store, this.network);
    const jobs = new Jobs(
      {
        store,
        jobs: objectJobStore(store),
        backbones: new BackboneStore(store),
        openDataset: async () => datasetLink(process, this.#pictures, this.network),
        openFeatures: (plan) => JobFeatures.open(store, plan.featureSpec, plan.viewSpec),
        enginesOf: async () => ({ extraction: simulatedProfile.engine, training: simulatedProfile.engine }),
        readWeights: () => Promise.reject(new Error("the job starts from its backbone")),
        clock: process.clock,
        memoryBytes: 2 ** 30,
        runner: "coordinator",
        newKey: () => keyOf(this.#keys++),
        announce: () => undefined,
        onFailure: (_jobId, error) => this.note(`${process.name} goes on after ${String(error)}`),
        milestone: (milestone) => this.#reached(process, milestone),
      },
      process.stop.signal,
    );
    await jobs.load();
    const served: CoordinatorProcess = { process, work: new WorkRouter(jobs) };
    const generations = await new JobObjects(this.store, JOB).numberedFacts("generations");
    this.checker.coordinatorStarted(served, generations.at(-1) ?? -1);
    this.#coordinator = served;
    await jobs.stopped();
    const { phase, failure } = jobs.get(JOB)!.board.current;
    if (phase !== "Complete") this.checker.violated(`the job is ${phase}: ${JSON.stringify(failure)}`);
  }

  async #extract(process: SimulatedProcess): Promise<void> {
    const { work, store, backbones, milestone } = this.#workerDeps(process);
    const identities = new IdentityStore(store);
    const deps = {
      work,
      store,
      backbones,
      openFeatures: async ({ featureSpec, viewSpec }: PlanRecord) => JobFeatures.forWriting(store, featureSpec, viewSpec),
      openDataset: async () => datasetLink(process, this.#pictures, this.network),
      clock: process.clock,
      identitiesOf: () => identities,
      decoder: simulatedDecoder(process),
      decodeSlots: new Slots(limits.decodesAtOnce),
      engine: async () => simulatedEngine(process.clock, this.#options.swarm.callMs, () => undefined),
      milestone,
    };
    await runExtractor(process.name, deps, process.stop.signal);
  }

  async #train(process: SimulatedProcess): Promise<void> {
    const engine = simulatedEngine(process.clock, this.#options.swarm.callMs, (what, parameters) =>
      this.checker.computing(process, what, parameters),
    );
    const shared = this.#workerDeps(process);
    const deps = {
      ...shared,
      bus: this.#bus.linkOf(process),
      engine: async () => engine,
      clock: process.clock,
      loadTrainingSet,
      openLanes: (features: JobFeatures) => new LaneStore(shared.store, features),
    };
    await runTrainer(process.name, this.#options.swarm.isPool ? undefined : JOB, deps, process.stop.signal);
  }

  #workerDeps(process: SimulatedProcess) {
    const store = storeLink(process, this.store, this.network);
    return {
      work: workLink(process, this.network, () => this.#coordinator, this.checker.observe),
      store,
      backbones: new BackboneStore(store),
      openFeatures: (plan: PlanRecord) => JobFeatures.open(store, plan.featureSpec, plan.viewSpec),
      milestone: (milestone: Milestone) => this.#reached(process, milestone),
    };
  }

  /** A process comes to a named point of its life: somebody may be waiting for it there. */
  #reached(process: SimulatedProcess, milestone: Milestone): void {
    if (this.#isQuiet || !process.isRunning) return;
    for (const ambush of this.#ambushes) {
      if (ambush.milestone !== milestone || ambush.after-- !== 0) continue;
      const pod = this.pods.find((each) => each.process === process);
      this.note(`ambush at "${milestone}"`);
      this.network.count(`ambush at "${milestone}"`);
      if (ambush.freezeMs !== undefined) this.freeze(process, ambush.freezeMs);
      else if (pod !== undefined) this.kill(pod);
    }
  }
}

function keyOf(number: number): Uint8Array {
  const key = new Uint8Array(32);
  new DataView(key.buffer).setUint32(0, number + 1, true);
  return key;
}
