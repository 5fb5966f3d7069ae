import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../cli/free-port.js";
import type { S3Access } from "../../platform/bucket/bucket.js";
import { connectBucket, makeBucket } from "../../platform/bucket/minio.js";
import { goProgram } from "./go-program.js";

/** A MinIO of its own for a test: random keys, a temporary folder, a free port of the loopback. */
export interface MinioServer {
  /** Address and keys of its root user. */
  readonly access: S3Access;
  readonly port: number;
  /** Where it keeps its objects. */
  readonly folder: string;
  readonly pid: () => number;
  readonly makeBucket: (name: string) => Promise<void>;
  /** Ends the process at once; what was stored stays. */
  readonly kill: (signal: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT") => Promise<void>;
  /** Starts it again on the same port and folder after `kill`. */
  readonly restart: () => Promise<void>;
  /** Ends it and removes its folder, unless it was given one. */
  readonly stop: () => Promise<void>;
}

/** Undefined where there is no MinIO; `withoutProgram("minio")` is what a skipped test says. */
export async function startMinio(
  environment: Readonly<Record<string, string>> = {},
  /** Where its objects lie (default: a temporary folder), and where private.key and public.crt for TLS lie. */
  { folder: givenFolder, certificates }: { readonly folder?: string; readonly certificates?: string } = {},
): Promise<MinioServer | undefined> {
  const program = goProgram("minio");
  if (program === undefined) return undefined;
  const folder = givenFolder ?? mkdtempSync(join(tmpdir(), "graft-minio-"));
  const port = await freePort();
  const accessKey = `test-${randomBytes(6).toString("hex")}`;
  const secretKey = randomBytes(20).toString("hex");
  const start = (): Promise<ChildProcess> =>
    startProcess(
      program,
      ["server", folder, "--address", `127.0.0.1:${port}`, ...(certificates === undefined ? [] : ["--certs-dir", certificates])],
      {
        ...environment,
        MINIO_ROOT_USER: accessKey,
        MINIO_ROOT_PASSWORD: secretKey,
        MINIO_BROWSER: "off",
      },
    );
  let running = await start();
  const access: S3Access = {
    endpoint: `${certificates === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    accessKey,
    secretKey,
    region: "us-east-1",
    ...(certificates !== undefined && { ca: readFileSync(join(certificates, "public.crt"), "utf8") }),
  };
  const kill: MinioServer["kill"] = async (signal) => {
    if (signal === "SIGSTOP" || signal === "SIGCONT") {
      running.kill(signal);
      return;
    }
    if (running.exitCode !== null || running.signalCode !== null) return;
    const ended = once(running, "exit");
    running.kill(signal);
    await ended;
  };
  return {
    access,
    port,
    folder,
    pid: () => running.pid as number,
    makeBucket: (name) => makeBucket(connectBucket(access, name)),
    kill,
    restart: async () => {
      running = await start();
    },
    stop: async () => {
      running.kill("SIGCONT");
      await kill("SIGKILL");
      if (givenFolder === undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Resolves once it prints where its interface is, which it does when it answers. */
async function startProcess(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<ChildProcess> {
  const child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  process.once("exit", () => child.kill("SIGKILL"));
  const printed: string[] = [];
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on("line", (line) => {
        printed.push(line);
        if (line.startsWith("API: ")) resolve();
      });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`minio ended with ${String(code)}:\n${printed.join("\n")}`)));
  });
  return child;
}
