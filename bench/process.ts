import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository: this file runs as dist/bench/process.js. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Finished {
  readonly stdout: string;
  /** From start to end of the process. */
  readonly seconds: number;
  readonly peakBytes: number;
  /** Of all its threads. */
  readonly cpuSeconds: number;
}

/** What the end of `graft train --json` says, as far as it is measured here. */
export interface TrainMetrics {
  readonly train: { readonly steps: number };
  readonly test: { readonly accuracy: number | null };
  readonly extraction: {
    readonly extracted: number;
    readonly cached: number;
    readonly rejected: number;
    readonly imagesPerSecond: number | null;
  };
  readonly training: { readonly millisecondsPerStep: number | null };
}

/** Runs a program of Node's to its end. @throws Error with what it wrote if it fails. */
export async function runNode(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const folder = mkdtempSync(join(tmpdir(), "graft-bench-process-"));
  const resourcesFile = join(folder, "resources.json");
  try {
    const start = performance.now();
    const child = spawn(
      process.execPath,
      ["--import", new URL("../../bench/peers/resources.mjs", import.meta.url).href, program, ...args],
      {
        cwd: root,
        env: { ...process.env, ...environment, GRAFT_BENCH_RESOURCES: resourcesFile },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const status = await new Promise<string>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(String(code ?? signal)));
    });
    const seconds = (performance.now() - start) / 1000;
    if (status !== "0") throw new Error(`node ${[program, ...args].join(" ")}: ended with ${status}\n${stderr}${stdout.slice(-2_000)}`);
    const resources = JSON.parse(readFileSync(resourcesFile, "utf8")) as Pick<Finished, "peakBytes" | "cpuSeconds">;
    return { stdout, seconds, ...resources };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function runGraft(args: readonly string[]): Promise<Finished> {
  return runNode(join(root, "bin/graft.cjs"), args);
}

/** `graft train` or `graft run`, with its metrics. */
export async function runJob(args: readonly string[]): Promise<Finished & { readonly metrics: TrainMetrics }> {
  const finished = await runGraft([...args, "--json"]);
  return { ...finished, metrics: JSON.parse(finished.stdout.trimEnd().split("\n").at(-1) ?? "") as TrainMetrics };
}

export interface PeerFigures {
  readonly imagesPerSecond: number;
  /** CPU time an image, of all threads. */
  readonly cpuMilliseconds: number;
}

/** A peer script under bench/peers/, which shares no code with graft and prints {"images", "seconds", "cpuSeconds"}. */
export async function runPeer(script: string, args: readonly string[]): Promise<PeerFigures> {
  const { stdout } = await runNode(join(root, "bench/peers", script), args);
  const { images, seconds, cpuSeconds } = JSON.parse(stdout) as { images: number; seconds: number; cpuSeconds: number };
  return { imagesPerSecond: images / seconds, cpuMilliseconds: (cpuSeconds * 1000) / images };
}
