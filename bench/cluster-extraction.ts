import { readFileSync, rmSync } from "node:fs";
import { availableParallelism, loadavg } from "node:os";
import { join } from "node:path";
import { samplesRecord } from "../formats/job-records/job-records.js";
import { TestCluster } from "../test/support/test-cluster.js";
import { type Figure, type Measure, median } from "./figure.js";
import { runJob } from "./process.js";

/** Of one second, as /proc counts CPU time. */
const TICKS = 100;

interface Extracted {
  readonly images: number;
  readonly imagesPerSecond: number;
  /** CPU time an image, of all processes and threads that took part. */
  readonly cpuMilliseconds: number;
}

/**
 * Extraction in one process beside extraction by a coordinator's and an extractor's process through gRPC and MinIO, of the same pictures on the same cores; the servers share them. Both take turns.
 */
export const measureClusterExtraction: Measure = async ({ pictures, rounds, temporary }, say) => {
  const measured: { readonly one: Extracted; readonly cluster: Extracted; readonly byProcess: string }[] = [];
  for (let round = 0; round < rounds; round++) {
    const one = await extractInOneProcess(pictures, temporary);
    const { byProcess, ...cluster } = await extractInCluster(pictures);
    measured.push({ one, cluster, byProcess });
    say(
      `cluster-extraction, round ${round + 1} of ${rounds}: one process ${one.imagesPerSecond.toFixed(0)}, cluster ${cluster.imagesPerSecond.toFixed(0)} images/s`,
    );
  }
  const row = "cluster-extraction";
  const on = `${measured[0]?.one.images ?? 0} pictures, ${availableParallelism()} cores, load average ${loadavg()[0]!.toFixed(1)}`;
  const of = (name: string, which: "one" | "cluster", note: string): Figure[] => [
    { row, name, value: median(measured.map((each) => each[which].imagesPerSecond)), unit: "images/s", note: on },
    { row, name: `${name}: CPU`, value: median(measured.map((each) => each[which].cpuMilliseconds)), unit: "ms an image", note },
  ];
  return [
    ...of("one process", "one", "without start, training and export"),
    ...of("cluster", "cluster", measured.at(-1)?.byProcess ?? ""),
    {
      row,
      name: "cluster / one process",
      value: median(measured.map(({ one, cluster }) => cluster.imagesPerSecond / one.imagesPerSecond)),
      unit: "",
      wanted: { atLeast: 0.9 },
      note: `median of the ratios of ${rounds} turns`,
    },
    {
      row,
      name: "CPU of one process / CPU of cluster",
      value: median(measured.map(({ one, cluster }) => one.cpuMilliseconds / cluster.cpuMilliseconds)),
      unit: "",
    },
  ];
};

/** What the rest of the command takes of the CPU is told by running it again, with nothing to extract. */
async function extractInOneProcess(pictures: string, temporary: string): Promise<Extracted> {
  const store = join(temporary, "cluster-extraction-store");
  const args = ["train", pictures, "--steps", "1", "--store", store, "--out", join(temporary, "cluster-extraction-out")];
  const fresh = await runJob(args);
  const kept = await runJob(args);
  rmSync(store, { recursive: true });
  const { extracted, imagesPerSecond } = fresh.metrics.extraction;
  return {
    images: extracted,
    imagesPerSecond: imagesPerSecond ?? NaN,
    cpuMilliseconds: ((fresh.cpuSeconds - kept.cpuSeconds) * 1000) / extracted,
  };
}

async function extractInCluster(pictures: string): Promise<Extracted & { readonly byProcess: string }> {
  // The trainer only gives the job its numerics profile. Its links go through proxies; those of the measured processes do not.
  const cluster = await TestCluster.start({ extractors: 0, trainers: 1 });
  try {
    const source = await cluster.upload(pictures);
    const store = { location: "s3://graft/store", s3: cluster.minio.access };
    const extractor = cluster.run("extractor", "extractor", {
      config: { store, coordinator: { address: `127.0.0.1:${String(cluster.coordinator.port)}` } },
    });
    await extractor.logged(({ msg }) => msg === "asking for tasks");
    const processes = { extractor: extractor.child.pid, coordinator: cluster.process("coordinator").child.pid, minio: cluster.minio.pid() };
    const before = cpuOf(processes);
    const jobId = await cluster.submit({ dataset: { source }, training: { steps: 1 } });
    await cluster.reached(jobId, "TRAINING");
    const after = cpuOf(processes);
    const objects = await cluster.objects(jobId);
    const { extraction } = (await objects.readJson("samples/summary.json", samplesRecord))!;
    const milliseconds = Object.entries(after).map(
      ([name, seconds]) => [name, ((seconds - before[name]!) * 1000) / extraction.extracted] as const,
    );
    return {
      images: extraction.extracted,
      imagesPerSecond: extraction.imagesPerSecond ?? NaN,
      cpuMilliseconds: milliseconds.reduce((sum, [, each]) => sum + each, 0),
      byProcess: milliseconds.map(([name, each]) => `${name} ${each.toFixed(1)} ms`).join(", "),
    };
  } finally {
    await cluster.stop();
  }
}

/** Seconds of CPU that processes took so far. */
function cpuOf(processes: Readonly<Record<string, number | undefined>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(processes).map(([name, pid]) => {
      const stat = readFileSync(`/proc/${String(pid)}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return [name, (Number(fields[11]) + Number(fields[12])) / TICKS];
    }),
  );
}
