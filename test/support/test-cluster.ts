import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../cli/free-port.js";
import type { GenerationRecord, Milestone } from "../../domain/job/records.js";
import type { JobResource, ResourcePhase } from "../../domain/job/resource.js";
import type { JobSpec } from "../../domain/job/spec.js";
import { generationRecord } from "../../formats/job-records/job-records.js";
import { systemClock } from "../../platform/clock/system.js";
import { uploadTo } from "../../platform/dataset-source/open-dataset.js";
import { openChannel, type GrpcChannel } from "../../platform/grpc/client.js";
import { grpcJobService } from "../../platform/job-service/grpc-client.js";
import type { JobService } from "../../platform/job-service/job-service.js";
import { JobObjects } from "../../platform/job-store/job-store.js";
import { openObjectStore } from "../../platform/object-store/open-store.js";
import type { ObjectStore } from "../../platform/object-store/object-store.js";
import { type MinioServer, startMinio } from "./minio.js";
import { NatsServer } from "./nats-server.js";
import { startTcpProxy, type TcpProxy } from "./tcp-proxy.js";

export type Role = "coordinator" | "extractor" | "trainer";

/** Ends or freezes the process when it reaches a point of its life for the `occurrence`-th time. */
export interface KillAt {
  readonly milestone: Milestone;
  readonly occurrence?: number;
  readonly signal?: "SIGKILL" | "SIGSTOP";
}

export interface ServiceOptions {
  readonly killAt?: KillAt;
  /** Over what is given to every service of its role. */
  readonly config?: Readonly<Record<string, unknown>>;
}

type LogLine = Readonly<Record<string, unknown>> & { readonly msg: string };

const program = join(
  process.env["GRAFT_TEST_DIST"] ?? resolve(import.meta.dirname, "../../dist").replace(/dist.dist$/, "dist"),
  "test/support/service.js",
);

/** One process of the cluster. */
export class ServiceProcess {
  readonly name: string;
  readonly role: Role;
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  readonly lines: LogLine[] = [];
  private readonly watchers = new Set<() => void>();

  constructor(name: string, role: Role, file: string, killAt: KillAt | undefined) {
    this.name = name;
    this.role = role;
    const kill = killAt === undefined ? [] : ["--kill", killAt.milestone, String(killAt.occurrence ?? 1), killAt.signal ?? "SIGKILL"];
    this.child = spawn(process.execPath, [program, role, "--config", file, ...kill], { stdio: ["ignore", "pipe", "inherit"] });
    createInterface({ input: this.child.stdout! }).on("line", (line) => {
      if (process.env["GRAFT_TEST_LOGS"] !== undefined) process.stderr.write(`${name} ${line}\n`);
      if (line.startsWith("{")) this.lines.push(JSON.parse(line) as LogLine);
      for (const watcher of this.watchers) watcher();
    });
    this.ended = once(this.child, "exit").then(([code, signal]) => {
      for (const watcher of this.watchers) watcher();
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves once the process has logged such a line; rejects if it ends before. */
  async logged(accepts: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find(accepts);
      if (found !== undefined) return found;
      if (!this.isRunning)
        throw new Error(
          `${this.name} ended (${String(this.child.signalCode ?? this.child.exitCode)}): ${JSON.stringify(this.lines.at(-1))}`,
        );
      await new Promise<void>((resolve) => {
        const watcher = (): void => {
          this.watchers.delete(watcher);
          resolve();
        };
        this.watchers.add(watcher);
      });
    }
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (!this.isRunning) return;
    this.child.kill(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await this.ended;
  }
}

/** Servers that several clusters use one after another, each with a bucket of its own. Whoever starts them stops them. */
export interface ClusterServers {
  readonly minio: MinioServer;
  readonly nats: NatsServer;
}

/** @throws where there is no MinIO or no nats-server */
export async function startServers(): Promise<ClusterServers> {
  const [minio, nats] = await Promise.all([startMinio(), NatsServer.start()]);
  if (minio === undefined) throw new Error("there is no MinIO");
  return { minio, nats };
}

export async function stopServers({ minio, nats }: ClusterServers): Promise<void> {
  await Promise.all([nats.stop(), minio.stop()]);
}

export interface ClusterShape {
  readonly extractors: number;
  readonly trainers: number;
  /** Silence after which a trainer is given up; tests need not wait as long as a cluster. */
  readonly stepDeadlineMs?: number;
  readonly leaseMs?: number;
  readonly options?: Readonly<Record<string, ServiceOptions>>;
  /** Default: servers of its own, for tests that kill them. */
  readonly servers?: ClusterServers | undefined;
}

/** A real cluster for a test: nats-server, MinIO, a coordinator, extractors and trainers as processes of their own. Every link goes through a wire that can be cut. */
export class TestCluster {
  readonly minio: MinioServer;
  readonly nats: NatsServer;
  /** To the coordinator, the store and the bus: of the coordinator itself, of extractors and of trainers. */
  readonly wires: Readonly<
    Record<
      "extractor-coordinator" | "trainer-coordinator" | "coordinator-store" | "extractor-store" | "trainer-store" | "trainer-bus",
      TcpProxy
    >
  >;
  /** The clients' wire to the coordinator. */
  readonly front: TcpProxy;
  readonly processes = new Map<string, ServiceProcess>();
  /** Where clients and, through their wires, workers find the coordinator, whichever it is. */
  readonly coordinator: { port: number };
  private readonly bucket: string;
  private readonly folder: string;
  private readonly shape: ClusterShape;
  private readonly channel: GrpcChannel;
  readonly jobs: JobService;

  private constructor(
    parts: Pick<TestCluster, "minio" | "nats" | "wires" | "coordinator" | "front"> & {
      shape: ClusterShape;
      folder: string;
      bucket: string;
    },
  ) {
    this.minio = parts.minio;
    this.nats = parts.nats;
    this.wires = parts.wires;
    this.coordinator = parts.coordinator;
    this.front = parts.front;
    this.shape = parts.shape;
    this.folder = parts.folder;
    this.bucket = parts.bucket;
    this.channel = openChannel({ address: `127.0.0.1:${String(parts.front.port)}`, tls: "plaintext" });
    this.jobs = grpcJobService(this.channel, {
      clock: systemClock,
      random: Math.random,
      policy: { attemptsMax: 200, firstDelayMs: 50, delayMsMax: 500, totalMsMax: 60_000 },
    });
  }

  static async start(shape: ClusterShape): Promise<TestCluster> {
    const { minio, nats } = shape.servers ?? (await startServers());
    const bucket = shape.servers === undefined ? "graft" : `graft-${randomUUID()}`;
    await minio.makeBucket(bucket);
    const coordinator = { port: await freePort() };
    const [toCoordinator, toStore, toBus] = [() => coordinator.port, () => minio.port, () => nats.port];
    const wires = {
      "extractor-coordinator": await startTcpProxy(toCoordinator),
      "trainer-coordinator": await startTcpProxy(toCoordinator),
      "coordinator-store": await startTcpProxy(toStore),
      "extractor-store": await startTcpProxy(toStore),
      "trainer-store": await startTcpProxy(toStore),
      "trainer-bus": await startTcpProxy(toBus),
    };
    const front = await startTcpProxy(toCoordinator);
    const folder = mkdtempSync(join(tmpdir(), "graft-cluster-"));
    const cluster = new TestCluster({ minio, nats, wires, coordinator, front, shape, folder, bucket });
    cluster.run("coordinator", "coordinator");
    for (let index = 0; index < shape.extractors; index++) cluster.run(`extractor-${String(index)}`, "extractor");
    for (let index = 0; index < shape.trainers; index++) cluster.run(`trainer-${String(index)}`, "trainer");
    await cluster.process("coordinator").logged(({ msg }) => msg === "serving");
    return cluster;
  }

  /** Starts a process, or starts it again; without `options` those of the cluster's shape, at the first start only. */
  run(
    name: string,
    role: Role,
    options: ServiceOptions = this.processes.has(name) ? {} : (this.shape.options?.[name] ?? {}),
  ): ServiceProcess {
    const file = join(this.folder, `${name}.json`);
    writeFileSync(file, JSON.stringify({ ...this.configOf(name, role), ...options.config }));
    const process = new ServiceProcess(name, role, file, options.killAt);
    this.processes.set(name, process);
    return process;
  }

  /** Starts a second coordinator on the same store, to which all new connections go; those to the first one end. */
  async takeOver(): Promise<ServiceProcess> {
    const { wires, front, coordinator } = this;
    this.processes.set("coordinator before", this.process("coordinator"));
    coordinator.port = await freePort();
    const process = this.run("coordinator", "coordinator", {});
    await process.logged(({ msg }) => msg === "serving");
    for (const wire of [front, wires["extractor-coordinator"], wires["trainer-coordinator"]]) wire.reset();
    return process;
  }

  process(name: string): ServiceProcess {
    const found = this.processes.get(name);
    if (found === undefined) throw new Error(`there is no process ${name}`);
    return found;
  }

  /** The store as the services see it, without wires. */
  async store(): Promise<ObjectStore> {
    return openObjectStore(`s3://${this.bucket}/store`, this.minio.access, { clock: systemClock, random: Math.random });
  }

  /** Uploads a folder of class folders into the bucket, as `graft submit --upload` does, and returns its address. */
  async upload(folder: string, prefix = "pictures"): Promise<string> {
    const to = `s3://${this.bucket}/${prefix}`;
    return (await uploadTo(folder, to, this.minio.access, { clock: systemClock, random: Math.random }, () => undefined)).source;
  }

  async submit(spec: JobSpec, name = "job"): Promise<string> {
    const job = await this.jobs.submitJob(randomUUID(), { metadata: { name }, spec });
    return job.metadata.uid ?? "";
  }

  /** The first state of the job that fulfils `accepts`; rejects where the job ends before. */
  async until(jobId: string, accepts: (job: JobResource) => boolean): Promise<JobResource> {
    const over = new AbortController();
    let last: JobResource | undefined;
    for await (const job of this.jobs.watchJob({ name: jobId }, undefined, over.signal)) {
      last = job;
      if (!accepts(job)) continue;
      over.abort();
      return job;
    }
    throw new Error(`job ${jobId} ended before: ${JSON.stringify(last?.status)}`);
  }

  async reached(jobId: string, phase: ResourcePhase): Promise<JobResource> {
    return this.until(jobId, (job) => job.status.phase === phase);
  }

  /** The digest of the finished job's weights. @throws where it fails */
  async finished(jobId: string): Promise<string> {
    const job = await this.reached(jobId, "COMPLETE");
    return job.status.result?.weightsSha256 ?? "";
  }

  async objects(jobId: string): Promise<JobObjects> {
    return new JobObjects(await this.store(), jobId);
  }

  /** Members of each generation that there was. */
  async generations(jobId: string): Promise<(readonly string[])[]> {
    return (await this.generationRecords(jobId)).map(({ trainers }) => trainers);
  }

  async generationRecords(jobId: string): Promise<GenerationRecord[]> {
    const objects = await this.objects(jobId);
    const numbers = await objects.numberedFacts("generations");
    return Promise.all(numbers.map(async (number) => (await objects.readJson(`generations/${String(number)}.json`, generationRecord))!));
  }

  async stop(): Promise<void> {
    this.channel.close();
    await Promise.all(
      [...this.processes.values()].map(async (process) => {
        process.child.kill("SIGCONT");
        await process.kill("SIGKILL");
      }),
    );
    for (const wire of [this.front, ...Object.values(this.wires)]) wire.stop();
    if (this.shape.servers === undefined) await stopServers(this);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private configOf(name: string, role: Role): Record<string, unknown> {
    const { wires, shape } = this;
    const store = {
      location: `s3://${this.bucket}/store`,
      s3: { ...this.minio.access, endpoint: `http://127.0.0.1:${String(wires[`${role}-store`].port)}` },
    };
    const deadline = { ...(shape.stepDeadlineMs !== undefined && { stepDeadlineMs: shape.stepDeadlineMs }) };
    const lease = { ...(shape.leaseMs !== undefined && { leaseMs: shape.leaseMs }) };
    if (role === "coordinator") return { ...lease, listen: `127.0.0.1:${String(this.coordinator.port)}`, store, ...deadline };
    const worker = { name, store, coordinator: { address: `127.0.0.1:${String(wires[`${role}-coordinator`].port)}` } };
    return role === "extractor" ? worker : { ...worker, nats: { servers: [`nats://127.0.0.1:${String(wires["trainer-bus"].port)}`] } };
  }
}
