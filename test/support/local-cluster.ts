import { spawn } from "node:child_process";
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve, sep } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterProcess } from "../../cli/local-cluster.js";
import type { S3Access } from "../../platform/bucket/bucket.js";
import { connectBucket } from "../../platform/bucket/minio.js";
import { systemProcesses } from "../../platform/job-store/processes.js";
import { graft } from "./program.js";

const repository = join(import.meta.dirname, "../..");
/** Until a process that was told to end has ended, or one that was started is ready. */
const PATIENCE_MS = 60_000;
const POLL_MS = 20;

/** What `graft cluster up --json` prints. */
interface ClusterState {
  readonly server: string;
  readonly s3: S3Access;
  readonly processes: readonly ClusterProcess[];
}

/** What `graft cluster up` starts, with its folder; the coordinator can be ended and started again. */
export class LocalCluster {
  readonly state: ClusterState;
  readonly #folder: string;

  private constructor(folder: string, state: ClusterState) {
    this.#folder = folder;
    this.state = state;
  }

  static async up(folder: string, workers: { readonly extractors: number; readonly trainers: number }): Promise<LocalCluster> {
    const counts = ["--extractors", String(workers.extractors), "--trainers", String(workers.trainers)];
    const printed = await graft(["cluster", "up", "--folder", folder, "--json", ...counts]);
    return new LocalCluster(folder, JSON.parse(printed) as ClusterState);
  }

  /** Puts the files of a folder under a prefix of the cluster's bucket; the place as a dataset has it. */
  async upload(from: string, prefix: string): Promise<string> {
    const bucket = connectBucket(this.state.s3, "graft");
    for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath, entry.name);
      await bucket.put(`${prefix}/${relative(from, file).split(sep).join("/")}`, readFileSync(file), false);
    }
    return `s3://graft/${prefix}/`;
  }

  /** Resolves once the coordinator is gone. */
  async endCoordinator(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const { pid } = this.#coordinator();
    process.kill(pid, signal);
    await until(`the coordinator (pid ${pid}) to end after ${signal}`, () => !isAlive(pid));
  }

  /** Starts it again, unless it runs, with its own file: the same port, the same store. */
  async startCoordinator(): Promise<void> {
    if (isAlive(this.#coordinator().pid)) return;
    const program = join(resolve(repository, process.env["GRAFT_TEST_DIST"] ?? "dist"), "services/coordinator/main.js");
    const coordinator = this.#coordinator();
    const out = openSync(coordinator.log, "a");
    const config = join(this.#folder, "coordinator.yaml");
    const child = spawn(process.execPath, [program, "--config", config], { stdio: ["ignore", out, out], detached: true });
    closeSync(out);
    child.unref();
    if (child.pid === undefined) throw new Error(`${program} cannot be started`);
    // `graft cluster down` ends it with the others.
    const identity = await systemProcesses.of(child.pid);
    const { processes } = this.#read();
    const now = processes.map((each) => (each.name === "coordinator" ? { ...each, ...identity } : each));
    writeFileSync(join(this.#folder, "cluster.json"), JSON.stringify({ ...this.state, processes: now }));
    await until(`the coordinator to be ready; its log: ${coordinator.log}`, () =>
      fetch(`${coordinator.address}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
  }

  async down(): Promise<void> {
    await graft(["cluster", "down", "--folder", this.#folder]);
  }

  #read(): ClusterState {
    return JSON.parse(readFileSync(join(this.#folder, "cluster.json"), "utf8")) as ClusterState;
  }

  #coordinator(): ClusterState["processes"][number] {
    const found = this.#read().processes.find(({ name }) => name === "coordinator");
    if (found === undefined) throw new Error(`${this.#folder}: no coordinator`);
    return found;
  }
}

/** For what other people's processes do: they tell nobody. */
async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const endMs = Date.now() + PATIENCE_MS; !(await isSo()); await sleep(POLL_MS))
    if (Date.now() > endMs) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
