import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CodedError } from "../../domain/errors.js";
import type { Metrics } from "../../formats/metrics/metrics.js";
import type { JobObjects } from "../../platform/job-store/job-store.js";
import { storeErrorFrom } from "../../platform/object-store/filesystem-error.js";

/** Copies every file of the result; each appears whole or not at all. @throws CodedError STORE_FULL, STORE_UNAVAILABLE, OBJECT_MISSING */
export async function copyResult(job: JobObjects, out: string): Promise<Pick<Metrics, "test" | "weightsSha256">> {
  let metrics: Uint8Array | undefined;
  const copied = new Set<string>();
  for await (const file of job.resultFiles()) {
    const body = await job.readResult(file);
    if (body === undefined) continue;
    await placeFile(join(out, file), body, out);
    copied.add(file);
    if (file === "metrics.json") metrics = body;
  }
  await removeEarlier(out, copied);
  if (metrics === undefined)
    throw new CodedError("OBJECT_MISSING", `${job.keyOf("result/metrics.json")} is gone from the store; run the job again`);
  return JSON.parse(Buffer.from(metrics).toString("utf8")) as Metrics;
}

async function placeFile(path: string, body: Uint8Array, out: string): Promise<void> {
  const part = `${path}.part`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(part, body);
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    const stored = await storeErrorFrom(error, `write ${path}`, out);
    if (!(stored instanceof CodedError)) throw stored;
    throw new CodedError(
      stored.code,
      `--out ${stored.message.replace(/^store /, "")}; the result is kept in the store, the same command writes it again`,
      stored.details,
      error,
    );
  }
}

/** Event files and weight shards of an earlier result in the same folder: TensorBoard would show two runs as one. Everything else has the same name in every result. */
async function removeEarlier(out: string, copied: ReadonlySet<string>): Promise<void> {
  for (const file of [...(await filesOf(out, "events")), ...(await filesOf(out, "tfjs"))]) {
    if (/^events\/events\.out\.tfevents\.\d+\.graft$|^tfjs\/group1-shard\d+of\d+\.bin$/.test(file) && !copied.has(file))
      await rm(join(out, file));
  }
}

async function filesOf(out: string, folder: string): Promise<string[]> {
  return (await readdir(join(out, folder)).catch(() => [])).map((name) => `${folder}/${name}`);
}
