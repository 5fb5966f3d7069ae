import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { distinctFor, makePictures } from "./make-pictures.js";
import type { Measure } from "./figure.js";
import { runGraft, runJob } from "./process.js";

const PICTURES = 100_000;
const NAMES = 1_000_000;
const GIB = 1024 ** 3;
/** Pooled MobileNetV2, float32, whatever its width. */
const FEATURE_BYTES = 1280 * 4;
/** Small and many: memory that grows with pictures, tasks or workers shows. */
const jobFile = (source: string): string => `
apiVersion: graft.dev/v1alpha1
kind: GraftJob
metadata: {name: many}
spec:
  dataset: {source: ${JSON.stringify(source)}}
  backbone: {name: mobilenet_v2_0.35_224}
  preprocessing: {size: 32}
  training: {steps: 1000}
  extractors: {max: 3}
  trainers: {max: 2}
`;

/** Peak memory of a whole job over many pictures; takes minutes. */
export const measureMemory: Measure = async ({ temporary }, say) => {
  const pictures = join(temporary, "many");
  say(`memory: writing ${PICTURES} pictures`);
  makePictures(pictures, PICTURES);
  const job = join(temporary, "many.yaml");
  writeFileSync(job, jobFile(pictures));
  say("memory: running the job");
  const { metrics, peakBytes, seconds } = await runJob([
    "run",
    job,
    "--store",
    join(temporary, "many-store"),
    "--out",
    join(temporary, "many-out"),
  ]);
  if (metrics.extraction.extracted !== PICTURES)
    throw new Error(`expected ${PICTURES} pictures to be extracted, found ${JSON.stringify(metrics.extraction)}`);
  const features = (PICTURES * FEATURE_BYTES) / GIB;
  const note = `${PICTURES} distinct pictures, 3 extractors, 2 trainers, ${features.toFixed(2)} GiB of features`;
  return [
    { row: "memory", name: "peak of a whole job", value: peakBytes / GIB, unit: "GiB", wanted: { atMost: 1 + features }, note },
    { row: "memory", name: "the job", value: seconds, unit: "s", note: `${metrics.extraction.imagesPerSecond?.toFixed(0) ?? ""} images/s` },
  ];
};

/** `graft plan` on a folder of a million names. */
export const measurePlan: Measure = async ({ temporary }, say) => {
  const pictures = join(temporary, "names");
  say(`plan: writing ${NAMES} names`);
  makePictures(pictures, NAMES, distinctFor(NAMES));
  const { seconds, peakBytes } = await runGraft(["plan", pictures, "--store", join(temporary, "names-store"), "--json"]);
  rmSync(pictures, { recursive: true });
  const note = `${NAMES} names`;
  return [
    { row: "plan", name: "graft plan", value: seconds, unit: "s", wanted: { atMost: 60 }, note },
    { row: "plan", name: "its peak", value: peakBytes / GIB, unit: "GiB", note },
  ];
};
