import { fileURLToPath } from "node:url";
import { loadavg } from "node:os";
import { type BenchOptions, type Figure, type Measure, median, significant } from "./figure.js";
import type { NetworkName } from "./network-jobs.js";
import type { NetworkTimes } from "./network-process.js";
import { runNode } from "./process.js";
import { type Peer, type PeerTimes, THREADS, TrainingPeers } from "./training-peers.js";

const ROW = "networks";
/** Of each measurement; steps of whole networks take two, and five are timed at least. */
const SECONDS = 10;
const GIB = 1024 ** 3;

/** As in the images (deploy/images/Containerfile). Peers are measured as PyPI and Python start them. */
const environment = { GLIBC_TUNABLES: "glibc.malloc.hugetlb=1" };

interface NetworkRow {
  readonly network: NetworkName;
  /** Undefined: as many as a job has by itself. */
  readonly grains?: number;
  /** What graft's time may be of a peer's. */
  readonly wanted: Partial<Record<Peer, number>>;
  readonly peakGib?: number;
}

const rows: readonly NetworkRow[] = [
  { network: "last-block", grains: 2, wanted: { PyTorch: 1, Keras: 0.8 } },
  { network: "mobilenet-frozen", wanted: { PyTorch: 0.55, Keras: 0.55 }, peakGib: 2 },
  { network: "mobilenet-batch", wanted: { PyTorch: 0.75, Keras: 0.75 }, peakGib: 2 },
  { network: "mixed7-head", wanted: { PyTorch: 0.6 } },
  { network: "head-32", grains: 1, wanted: { PyTorch: 1.1 } },
  { network: "head-32", grains: 8, wanted: { PyTorch: 2 } },
  { network: "head-96", grains: 1, wanted: { PyTorch: 1.1 } },
  { network: "head-96", grains: 8, wanted: { PyTorch: 2 } },
  { network: "resnet18", wanted: { PyTorch: 1.2 } },
];

/** A training step of whole networks, tails and heads on the onnx engine; with `--peers` beside the same in PyTorch and Keras, in turns. */
export const measureNetworks: Measure = async (options, say) => {
  const only = process.env["GRAFT_BENCH_NETWORKS"]?.split(",");
  const figures: Figure[] = [];
  for (const network of new Set(rows.map((row) => row.network))) {
    if (only && !only.includes(network)) continue;
    figures.push(
      ...(await measureNetwork(
        rows.filter((row) => row.network === network),
        options,
        say,
      )),
    );
  }
  return figures;
};

/** All rows of one network: the peers are measured once for all of them. */
async function measureNetwork(
  rows: readonly NetworkRow[],
  { rounds, peers, python }: BenchOptions,
  say: (message: string) => void,
): Promise<Figure[]> {
  const { network } = rows[0]!;
  const seconds = Number(process.env["GRAFT_BENCH_SECONDS"] ?? SECONDS);
  const training = new TrainingPeers(python);
  const own = rows.map((): OwnTimes[] => []);
  const others: Record<Peer, PeerTimes[]> = { PyTorch: [], Keras: [] };
  const missing: Partial<Record<Peer, string>> = {};
  for (let round = 0; round < rounds; round++) {
    for (const [i, { grains }] of rows.entries()) {
      const times = await ownTimes(network, grains, seconds);
      say(
        `${ROW}, ${network}, round ${round + 1} of ${rounds}: graft ${"unmeasured" in times ? times.unmeasured : inMilliseconds(times.milliseconds)}`,
      );
      own[i]!.push(times);
    }
    for (const peer of peers ? (["PyTorch", "Keras"] as const) : []) {
      if (missing[peer] !== undefined) continue;
      const times = await training.measure(peer, network, seconds);
      if (times === undefined) continue;
      if ("missing" in times) missing[peer] = times.missing;
      else others[peer].push(times);
      say(
        `${ROW}, ${network}, round ${round + 1} of ${rounds}: ${peer} ${"missing" in times ? times.missing : inMilliseconds(times.milliseconds)}`,
      );
    }
  }
  const peerFigures = (["PyTorch", "Keras"] as const).flatMap((peer): Figure[] => {
    const note = missing[peer];
    if (note !== undefined) return [{ row: ROW, name: `${network}: ${peer}`, value: undefined, unit: "ms", note }];
    const [first] = others[peer];
    if (first === undefined) return [];
    const peak = `fastest ${significant(Math.min(...others[peer].map(({ minimum }) => minimum)))} ms, peak ${(median(others[peer].map(({ peakBytes }) => peakBytes)) / GIB).toFixed(2)} GiB`;
    return [
      {
        row: ROW,
        name: `${network}: ${peer}`,
        value: timeOf(others[peer]),
        unit: "ms",
        note: `${first.peer}, batch ${first.batch}, ${THREADS} threads, ${peak}`,
      },
    ];
  });
  return [...rows.flatMap((row, i) => ownFigures(row, own[i]!, others)), ...peerFigures];
}

type OwnTimes = NetworkTimes & { readonly peakBytes: number };

async function ownTimes(network: NetworkName, grains: number | undefined, seconds: number): Promise<OwnTimes> {
  const program = fileURLToPath(new URL("network-process.js", import.meta.url));
  const { stdout, peakBytes } = await runNode(program, [network, String(grains ?? 0), String(THREADS), String(seconds)], environment);
  return { ...(JSON.parse(stdout) as NetworkTimes), peakBytes };
}

function ownFigures(
  { network, grains, wanted, peakGib }: NetworkRow,
  all: readonly OwnTimes[],
  others: Record<Peer, PeerTimes[]>,
): Figure[] {
  const name = grains === undefined || grains === 1 ? network : `${network}, ${grains} grains`;
  const unmeasured = all.flatMap((times) => ("unmeasured" in times ? [times.unmeasured] : []))[0];
  const measured = all.flatMap((times) => ("unmeasured" in times ? [] : [times]));
  const [first] = measured;
  const note = first
    ? `batch ${first.batch} in ${first.grains} grain${first.grains === 1 ? "" : "s"}, ${THREADS} threads, fastest ${significant(Math.min(...measured.map(({ minimum }) => minimum)))} ms; load average ${loadavg()[0]!.toFixed(1)}`
    : (unmeasured ?? "");
  const value = first && timeOf(measured);
  const figures: Figure[] = [{ row: ROW, name: `${name}: graft`, value, unit: "ms", note }];
  for (const peer of ["PyTorch", "Keras"] as const) {
    if (others[peer].length === 0) continue;
    const atMost = wanted[peer];
    const ratio = value === undefined ? undefined : value / timeOf(others[peer]);
    figures.push({
      row: ROW,
      name: `${name}: graft / ${peer}`,
      value: ratio,
      unit: "",
      ...(atMost !== undefined && { wanted: { atMost } }),
    });
  }
  if (peakGib !== undefined) {
    const peak = first && Math.max(...measured.map(({ peakBytes }) => peakBytes)) / GIB;
    figures.push({ row: ROW, name: `${name}: peak memory`, value: peak, unit: "GiB", wanted: { atMost: peakGib }, note: "of the process" });
  }
  return figures;
}

function timeOf(times: readonly { readonly milliseconds: number }[]): number {
  return median(times.map(({ milliseconds }) => milliseconds));
}

function inMilliseconds(milliseconds: number): string {
  return `${significant(milliseconds)} ms a step`;
}
