import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { version } from "../domain/version.js";
import { measureClusterExtraction } from "./cluster-extraction.js";
import { measureCoordinatorLoad } from "./coordinator-load.js";
import { measureCoordinatorScale } from "./coordinator-scale.js";
import { measureExchange } from "./exchange.js";
import { measureExtraction } from "./extraction.js";
import { type Figure, isReached, type Measure, renderTable } from "./figure.js";
import { measureListing } from "./listing.js";
import { measureMemory, measurePlan } from "./memory.js";
import { root } from "./process.js";
import { measureNetworks } from "./networks.js";
import { measureStart } from "./start.js";
import { measureTraining } from "./training.js";
import { measureWhole } from "./whole.js";

/** `npm run bench [-- ROW …] [--pictures DIR] [--rounds N] [--peers [--python FILE]] [--out FILE]`; bench/README.md says how to read what it prints. */
const rows: Readonly<Record<string, { readonly measure: Measure; readonly onRequest: boolean }>> = {
  start: { measure: measureStart, onRequest: false },
  training: { measure: measureTraining, onRequest: false },
  extraction: { measure: measureExtraction, onRequest: false },
  whole: { measure: measureWhole, onRequest: false },
  exchange: { measure: measureExchange, onRequest: true },
  "cluster-extraction": { measure: measureClusterExtraction, onRequest: true },
  coordinator: { measure: measureCoordinatorScale, onRequest: true },
  "coordinator-load": { measure: measureCoordinatorLoad, onRequest: true },
  memory: { measure: measureMemory, onRequest: true },
  plan: { measure: measurePlan, onRequest: true },
  listing: { measure: measureListing, onRequest: true },
  networks: { measure: measureNetworks, onRequest: true },
};
const ROUNDS = 5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pictures: { type: "string" },
    rounds: { type: "string", default: String(ROUNDS) },
    peers: { type: "boolean", default: false },
    python: { type: "string" },
    out: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  console.log(`npm run bench [-- ROW …] [--pictures DIR] [--rounds N] [--peers [--python FILE]] [--out FILE]

Rows: ${Object.entries(rows)
    .map(([name, { onRequest }]) => (onRequest ? `${name} (on request)` : name))
    .join(", ")}

  npm run bench                                 # start, training, extraction, whole
  npm run bench -- networks --peers --rounds 3  # training steps beside PyTorch and Keras

bench/README.md says what each row measures and how to read what is printed.`);
  process.exit(0);
}
const unknown = positionals.filter((name) => !(name in rows));
if (unknown.length > 0) {
  console.error(`bench: there is no row ${unknown.join(", ")}; there are ${Object.keys(rows).join(", ")}`);
  process.exit(2);
}
const testData = process.env["GRAFT_TEST_DATA"];
const pictures = resolve(
  values.pictures ?? (testData === undefined ? join(root, "samples/flowers") : join(testData, "images/flower_photos")),
);
const startedAt = new Date();
const out = resolve(values.out ?? join(root, `.cache/bench/${startedAt.toISOString().replaceAll(":", "-")}.json`));

const figures: Figure[] = [];
const temporary = mkdtempSync(join(tmpdir(), "graft-bench-"));
try {
  for (const [name, { measure, onRequest }] of Object.entries(rows)) {
    if (positionals.length === 0 ? onRequest : !positionals.includes(name)) continue;
    figures.push(
      ...(await measure({ pictures, rounds: Number(values.rounds), peers: values.peers, python: values.python, temporary }, (message) =>
        console.error(message),
      )),
    );
  }
} finally {
  rmSync(temporary, { recursive: true, force: true });
}

console.log(renderTable(figures));
const machine = {
  cores: availableParallelism(),
  cpu: cpus()[0]?.model ?? "",
  memoryBytes: totalmem(),
  platform: `${process.platform}-${process.arch}`,
  node: process.versions.node,
};
mkdirSync(dirname(out), { recursive: true });
const report = {
  formatVersion: 1,
  graft: version,
  startedAt,
  loadAverage: loadavg()[0],
  machine,
  pictures,
  figures: figures.map((figure) => ({ ...figure, reached: isReached(figure) ?? null })),
};
writeFileSync(out, `${JSON.stringify(report, null, 2)}\n`);
console.log(`\nwritten to ${out}`);
