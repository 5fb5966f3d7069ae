import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { systemClock } from "../../platform/clock/system.js";
import { connectBucket, makeBucket } from "../../platform/bucket/minio.js";
import { systemProcesses } from "../../platform/job-store/processes.js";
import { retry } from "../../platform/retry/retry.js";
import { clusterFolder } from "../config.js";
import { freePort } from "../free-port.js";
import { CLUSTER_FILE, type ClusterProcess, endProcesses, type LocalCluster, localCluster } from "../local-cluster.js";
import { aligned } from "../table.js";

export interface ClusterFlags {
  readonly extractors?: number;
  readonly trainers?: number;
  readonly folder?: string;
  readonly json?: boolean;
}

/** Until a process says that it is ready. */
const READY_MS = 60_000;
const BUCKET = "graft";

/** `graft cluster up`: nats-server, MinIO, a coordinator, extractors and trainers on this machine, for trying graft out. */
export async function clusterUp(flags: ClusterFlags): Promise<void> {
  const folder = clusterFolder(flags);
  const running = await localCluster(folder);
  const alive = await Promise.all(running?.processes.map((each) => systemProcesses.isAlive(each)) ?? []);
  if (running !== undefined && alive.includes(true))
    throw new CodedError("USAGE_INVALID", `a cluster is up already in ${folder} (${running.server}); end it with: graft cluster down`);
  const programs = { nats: serverProgram("nats-server"), minio: serverProgram("minio") };
  await mkdir(join(folder, "minio"), { recursive: true });
  const keys = { accessKey: randomBytes(8).toString("hex"), secretKey: randomBytes(16).toString("hex") };
  const [natsPort, minioPort, coordinatorPort] = [await freePort(), await freePort(), await freePort()];
  const s3 = { endpoint: `http://127.0.0.1:${String(minioPort)}`, ...keys, region: "us-east-1" };
  const started: { readonly process: ClusterProcess; readonly child: ChildProcess }[] = [];
  const start = async (
    name: string,
    command: string,
    args: readonly string[],
    address: string,
    env: NodeJS.ProcessEnv = {},
  ): Promise<void> => {
    const log = join(folder, `${name}.log`);
    const out = openSync(log, "w");
    const child = spawn(command, args, { detached: true, stdio: ["ignore", out, out], env: { ...process.env, ...env } });
    closeSync(out);
    if (child.pid === undefined) throw new CodedError("USAGE_INVALID", `${command} cannot be started; see ${log}`);
    child.unref();
    started.push({ process: { name, ...(await systemProcesses.of(child.pid)), address, log }, child });
  };
  try {
    // 1. The two servers that graft stands on.
    await start("nats-server", programs.nats, ["-a", "127.0.0.1", "-p", String(natsPort)], `nats://127.0.0.1:${String(natsPort)}`);
    const minioEnv = { MINIO_ROOT_USER: keys.accessKey, MINIO_ROOT_PASSWORD: keys.secretKey, MINIO_BROWSER: "off", MINIO_UPDATE: "off" };
    await start(
      "minio",
      programs.minio,
      ["server", "--address", `127.0.0.1:${String(minioPort)}`, join(folder, "minio")],
      s3.endpoint,
      minioEnv,
    );
    await ready("minio", `${s3.endpoint}/minio/health/ready`, started);
    // MinIO says that it is ready a moment before it takes buckets.
    const policy = { attemptsMax: Infinity, firstDelayMs: limits.retryFirstDelayMs, delayMsMax: 1_000, totalMsMax: READY_MS };
    await retry(policy, () => makeBucket(connectBucket(s3, BUCKET)), { clock: systemClock, random: Math.random });

    // 2. graft's own processes.
    const store = { location: `s3://${BUCKET}/store`, s3 };
    const server = `127.0.0.1:${String(coordinatorPort)}`;
    const service = async (name: string, kind: string, config: object): Promise<void> => {
      const port = await freePort();
      const file = join(folder, `${name}.yaml`);
      await writeFile(file, stringify({ ...config, store, telemetry: { listen: `127.0.0.1:${String(port)}` } }), { mode: 0o600 });
      const program = fileURLToPath(new URL(`../../services/${kind}/main.js`, import.meta.url));
      await start(name, process.execPath, [program, "--config", file], `http://127.0.0.1:${String(port)}`, {
        UV_THREADPOOL_SIZE: String(Math.max(4, 2 * availableParallelism())),
      });
    };
    await service("coordinator", "coordinator", { listen: server });
    const coordinator = { address: server };
    const nats = { servers: [`nats://127.0.0.1:${String(natsPort)}`] };
    for (let index = 0; index < (flags.extractors ?? 2); index++)
      await service(`extractor-${String(index)}`, "extractor", { name: `extractor-${String(index)}`, coordinator });
    for (let index = 0; index < (flags.trainers ?? 1); index++)
      await service(`trainer-${String(index)}`, "trainer", { name: `trainer-${String(index)}`, coordinator, nats });
    for (const {
      process: { name, address },
    } of started.slice(2))
      await ready(name, `${address}/readyz`, started);

    const state: LocalCluster = {
      server,
      store: store.location,
      s3,
      nats: nats.servers[0]!,
      processes: started.map(({ process }) => process),
    };
    await writeFile(join(folder, CLUSTER_FILE), JSON.stringify(state, null, 2), { mode: 0o600 });
    if (flags.json === true) process.stdout.write(`${JSON.stringify(state)}\n`);
    else {
      const rows = state.processes.map(({ name, pid, address }) => [name, `pid ${String(pid)}`, address]);
      process.stdout.write(
        `${aligned(rows)}\n\ncoordinator: ${server}   logs and keys: ${folder}\ntry it: graft submit --upload DIR --watch\nend it: graft cluster down\n`,
      );
    }
  } catch (error) {
    for (const { child } of started) child.kill("SIGKILL");
    throw error;
  }
}

/** `graft cluster down`: ends what `up` started, by process id. Objects and logs stay. */
export async function clusterDown(flags: ClusterFlags): Promise<void> {
  const folder = clusterFolder(flags);
  const state = await localCluster(folder);
  if (state === undefined) throw new CodedError("USAGE_INVALID", `no cluster is up in ${folder}`);
  // Workers first, so that what they hold is handed back; the servers that they need last.
  const ended = await endProcesses([...state.processes].reverse());
  await rm(join(folder, CLUSTER_FILE));
  process.stdout.write(
    flags.json === true ? `${JSON.stringify({ ended })}\n` : `${String(ended)} processes are ended; what they stored stays in ${folder}\n`,
  );
}

/** From PATH, or where the tests build it. */
function serverProgram(name: string): string {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), fileURLToPath(new URL("../../../.cache/go/bin", import.meta.url))];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  throw new CodedError("USAGE_INVALID", `${name} is not on PATH; install it (docs/operations.md says how), then run the command again`);
}

async function ready(
  name: string,
  url: string,
  started: readonly { readonly process: ClusterProcess; readonly child: ChildProcess }[],
): Promise<void> {
  const { process: of, child } = started.find(({ process }) => process.name === name)!;
  const untilMs = systemClock.monotonic() + READY_MS;
  for (;;) {
    const isReady = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    if (child.exitCode !== null || systemClock.monotonic() > untilMs)
      throw new CodedError(
        "USAGE_INVALID",
        `${name} ${child.exitCode === null ? "is not ready after a minute" : `ended with code ${String(child.exitCode)}`}; its log says why: ${of.log}`,
      );
    await systemClock.sleep(50);
  }
}
