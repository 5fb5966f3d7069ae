import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { JobSpec } from "../../domain/job/spec.js";
import type { JobResult } from "./job-result.js";
import type { LocalRunLine, LocalRunRequest } from "./local-run.js";

const root = resolve(import.meta.dirname, "../..");
const sampleFlowers = join(root, "samples/flowers");
/** Built by `npm run test:all` before the tests; another build is named by GRAFT_TEST_DIST. */
const program = join(process.env["GRAFT_TEST_DIST"] ?? join(root, "dist"), "test/support/local-run.js");

/** A small job: the small backbone on small pictures, a linear head, four tasks on the 200 sample pictures. */
export const smallJob: JobSpec = {
  backbone: { name: "mobilenet_v2_0.35_224" },
  preprocessing: { size: 96 },
  training: { steps: 120, batchSize: 32, evaluateEverySteps: 20 },
};

/** The same with everything that draws random numbers or keeps a state. */
export const richJob: JobSpec = {
  ...smallJob,
  head: { layers: [{ dropout: { rate: 0.3 } }, { dense: { units: 24, activation: "RELU" } }] },
  training: {
    ...smallJob.training,
    optimizer: { adam: { learningRate: 0.003 } },
    sampling: "CLASS_BALANCED",
    weightDecay: 0.001,
    labelSmoothing: 0.1,
    schedule: { cosine: {} },
  },
};

/** The job on a folder of pictures, by so many workers. */
export function jobOn(pictures: string, job: JobSpec, workers: { readonly trainers?: number; readonly extractors?: number } = {}): JobSpec {
  const { trainers = 1, extractors = 1 } = workers;
  return {
    ...job,
    dataset: { ...job.dataset, source: pictures, split: { seed: 1, ...job.dataset?.split } },
    trainers: { ...job.trainers, min: trainers, max: trainers },
    extractors: { min: extractors, max: extractors },
  };
}

/** A folder for one test, removed by `remove`. */
export function temporaryFolder(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "graft-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Copies the first pictures of each of the first classes of the samples to `folder`. */
export function samplePictures(folder: string, perClass = Infinity, classes = Infinity): string {
  const labels = readdirSync(sampleFlowers, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const label of labels.slice(0, classes)) {
    mkdirSync(join(folder, label.name), { recursive: true });
    const names = readdirSync(join(sampleFlowers, label.name)).sort();
    for (const name of names.slice(0, perClass)) cpSync(join(sampleFlowers, label.name, name), join(folder, label.name, name));
  }
  return folder;
}

export interface ProcessEnd {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly result: JobResult | undefined;
  readonly failure: { readonly code: string; readonly message: string } | undefined;
  /** Pictures that were decoded. */
  readonly decoded: number;
  /** What the job announced. */
  readonly events: readonly { readonly kind: string; readonly [field: string]: unknown }[];
  readonly stderr: string;
}

/** A job in a process of its own. */
export class JobProcess {
  readonly child: ChildProcess;
  readonly end: Promise<ProcessEnd>;
  private readonly lines: LocalRunLine[] = [];
  private readonly watchers = new Set<() => void>();

  constructor(request: LocalRunRequest, node: string = process.execPath) {
    if (!existsSync(program)) throw new Error(`${program} is not built; run "npm run build" first`);
    const child = spawn(node, [program, JSON.stringify(request)], { stdio: ["ignore", "pipe", "pipe"] });
    this.child = child;
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const read = createInterface({ input: child.stdout });
    const allRead = new Promise<void>((done) => read.once("close", done));
    read.on("line", (line) => {
      if (line.startsWith("{") && line.endsWith("}")) this.lines.push(JSON.parse(line) as LocalRunLine);
      for (const watcher of this.watchers) watcher();
    });
    this.end = new Promise((done, fail) => {
      child.once("error", fail);
      child.once("close", (exitCode, signal) => {
        void allRead.then(() => {
          for (const watcher of this.watchers) watcher();
          const result = this.lines.find((line) => line.event === "result")?.result;
          const failure = this.lines.find((line) => line.event === "failed");
          const decoded = this.lines.filter((line) => line.event === "decoded").length;
          done({ exitCode, signal, result, failure, decoded, events: this.lines.filter((line) => line.event === "job"), stderr });
        });
      });
    });
  }

  /** Resolves once the job has announced an event of this kind that fulfils `accepts`; rejects if it ends before. */
  async announced(kind: string, accepts: (event: Readonly<Record<string, unknown>>) => boolean = () => true): Promise<void> {
    const isThere = (): boolean => this.lines.some((line) => line.event === "job" && line.kind === kind && accepts(line));
    while (!isThere()) {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        const { stderr } = await this.end;
        if (isThere()) return;
        throw new Error(`the job ended without announcing ${kind}: ${stderr}`);
      }
      await new Promise<void>((resolve) => {
        const watcher = (): void => {
          this.watchers.delete(watcher);
          resolve();
        };
        this.watchers.add(watcher);
      });
    }
  }
}

/** Runs a job to its end in a process of its own; fails the test where it does not get there. */
export async function finished(request: LocalRunRequest, node?: string): Promise<ProcessEnd & { readonly result: JobResult }> {
  const end = await new JobProcess(request, node).end;
  const { exitCode, signal, result, failure, stderr } = end;
  if (result === undefined) throw new Error(`the job ended with ${String(signal ?? exitCode)}: ${failure?.message ?? ""}\n${stderr}`);
  return { ...end, result };
}
