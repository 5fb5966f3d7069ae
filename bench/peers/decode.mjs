// D: the rate of a bare sharp loop. Decodes and resizes the pictures under a folder to 224 x 224 pixels of three bytes; no code of graft.
//   node bench/peers/decode.mjs FOLDER [PICTURES] [THREADS]
// Prints {"images": n, "seconds": s, "cpuSeconds": s of all threads}. The first 5 % of the pictures warm up and are not counted.
import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";

const [folder, pictures = "Infinity", threads = String(availableParallelism())] = process.argv.slice(2);
process.env.UV_THREADPOOL_SIZE = threads; // read when the first thread starts
const { default: sharp } = await import("sharp");
sharp.concurrency(1);
sharp.cache(false);

const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((name) => /\.(jpe?g|png|webp|gif)$/i.test(name))
  .sort()
  .slice(0, Number(pictures))
  .map((name) => join(folder, name));
const warmUp = Math.ceil(files.length / 20);

await decodeAll(files.slice(0, warmUp));
const cpuStart = process.cpuUsage();
const start = performance.now();
await decodeAll(files);
const seconds = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage(cpuStart);
console.log(JSON.stringify({ images: files.length, seconds, cpuSeconds: (user + system) / 1e6 }));

async function decodeAll(paths) {
  let next = 0;
  const lane = async () => {
    while (next < paths.length) {
      const bytes = await readFile(paths[next++]);
      await sharp(bytes).autoOrient().resize(224, 224, { fit: "fill", kernel: "linear" }).toColourspace("srgb").raw().toBuffer();
    }
  };
  await Promise.all(Array.from({ length: 2 * Number(threads) }, lane));
}
