// F: the rate of a bare onnxruntime session on a network that takes uint8 pictures in batches of a fixed size; no code of graft.
//   node bench/peers/forward.mjs MODEL.onnx BATCH IMAGES [THREADS]
// Prints {"images": n, "seconds": s, "cpuSeconds": s of all threads}. The first batches warm up and are not counted.
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [model, batch, images, threads = availableParallelism()] = process.argv.slice(2).map((value, i) => (i === 0 ? value : Number(value)));
const WARM_UP = 5;

const session = await InferenceSession.create(readFileSync(model), {
  intraOpNumThreads: threads,
  graphOptimizationLevel: "all",
  logSeverityLevel: 3,
  // Threads that spin while they wait take CPU time from whatever else runs, and gain nothing here.
  extra: { session: { intra_op: { allow_spinning: "0" } } },
});
const pixels = Uint8Array.from({ length: batch * 224 * 224 * 3 }, (_, i) => (i * 2654435761) >>> 24);
const input = new Tensor("uint8", pixels, [batch, 224, 224, 3]);
const name = session.inputNames[0];

for (let run = 0; run < WARM_UP; run++) await session.run({ [name]: input });
const runs = Math.ceil(images / batch);
const cpuStart = process.cpuUsage();
const start = performance.now();
for (let run = 0; run < runs; run++) await session.run({ [name]: input });
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(cpuStart);
console.log(JSON.stringify({ images: runs * batch, seconds, cpuSeconds: (user + system) / 1e6 }));
