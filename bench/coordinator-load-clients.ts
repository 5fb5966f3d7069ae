import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { NumericsProfile } from "../domain/features/numerics-profile.js";
import { IMAGE_ID_BYTES } from "../domain/features/image-ids.js";
import type { S3Access } from "../platform/bucket/bucket.js";
import { systemClock } from "../platform/clock/system.js";
import { openChannel } from "../platform/grpc/client.js";
import { openObjectStore } from "../platform/object-store/open-store.js";
import { grpcWorkService } from "../platform/work-service/grpc-client.js";

/** What the clients' process is to do; it answers with a LoadReport. */
export interface LoadOrder {
  readonly address: string;
  readonly location: string;
  readonly access: S3Access;
  readonly profile: NumericsProfile;
  readonly featureSpecDigest: string;
  readonly workers: number;
  /** Calls of the first `warmUpSeconds` are not counted: connections are made, code is compiled. */
  readonly warmUpSeconds: number;
  readonly seconds: number;
  readonly taskMs: number;
  readonly heartbeatMs: number;
  readonly taskPictures: number;
  readonly lookupPictures: number;
}
export interface LoadReport {
  /** Milliseconds of every call, by method. */
  readonly calls: Readonly<Record<string, readonly number[]>>;
  readonly failures: readonly string[];
}

const SHARD_BYTES = 64;

/** Extractors without engine and pictures: each has a connection of its own and does to the coordinator what a real one does. */
process.once("message", (order: LoadOrder) => {
  void run(order).then((report) => process.send?.(report, () => process.disconnect()));
});

async function run(order: LoadOrder): Promise<LoadReport> {
  const store = await openObjectStore(order.location, order.access, { clock: systemClock, random: Math.random });
  const calls: Record<string, number[]> = { claim: [], heartbeat: [], lookup: [], commit: [] };
  const failures: string[] = [];
  const over = new AbortController();
  setMaxListeners(0, over.signal); // every worker listens
  const measuredFromMs = performance.now() + order.warmUpSeconds * 1_000;
  const timed = async <T>(method: string, call: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const answer = await call();
    if (start >= measuredFromMs) calls[method]?.push(performance.now() - start);
    return answer;
  };
  const sleep = (ms: number): Promise<void> => systemClock.sleep(ms, over.signal).catch(() => undefined);

  const work = async (number: number): Promise<void> => {
    const worker = `extractor-${String(number)}`;
    const channel = openChannel({ address: order.address, tls: "plaintext" });
    const service = grpcWorkService(channel, { clock: systemClock, random: Math.random, signal: over.signal });
    // They do not all begin at once.
    await sleep((number / order.workers) * order.taskMs);
    while (!over.signal.aborted) {
      const task = await timed("claim", () => service.claimTask(worker, order.profile));
      if (task.kind !== "task") continue;
      const ids = randomBytes(order.taskPictures * IMAGE_ID_BYTES);
      const parts = Math.ceil(order.taskPictures / order.lookupPictures);
      let sinceHeartbeat = 0;
      for (let part = 0; part < parts && !over.signal.aborted; part++) {
        const from = part * order.lookupPictures * IMAGE_ID_BYTES;
        await timed("lookup", () => service.lookupFeatures(task, ids.subarray(from, from + order.lookupPictures * IMAGE_ID_BYTES), 0));
        await sleep(order.taskMs / parts);
        if (over.signal.aborted) break; // else all would call at once
        if ((sinceHeartbeat += order.taskMs / parts) < order.heartbeatMs) continue;
        sinceHeartbeat = 0;
        await timed("heartbeat", () => service.heartbeatTask(task, { extracted: part * order.lookupPictures, cached: 0, rejected: 0 }));
      }
      if (over.signal.aborted) break;
      const sha256 = randomBytes(32).toString("hex");
      await store.create(`features/${order.featureSpecDigest}/shards/${sha256}.arrow`, randomBytes(SHARD_BYTES));
      const imageIds = ids.toString("base64");
      const shard = { sha256, bytes: SHARD_BYTES, view: 0, rows: order.taskPictures, imageIds, thumbnails: null };
      const commit = {
        formatVersion: 1,
        task: task.task,
        worker,
        imageIds,
        rejected: [],
        extracted: order.taskPictures,
        cached: 0,
      } as const;
      await timed("commit", () => service.commitTask(task, { ...commit, shards: [shard] }));
    }
    channel.close();
  };
  const all = Array.from({ length: order.workers }, (_, number) =>
    work(number).catch((error: unknown) => {
      if (!over.signal.aborted) failures.push(String(error));
    }),
  );
  await systemClock.sleep((order.warmUpSeconds + order.seconds) * 1_000);
  over.abort(new Error("the time is over"));
  await Promise.all(all);
  return { calls, failures };
}
