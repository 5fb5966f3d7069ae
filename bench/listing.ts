import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { connectBucket } from "../platform/bucket/minio.js";
import { systemClock } from "../platform/clock/system.js";
import { openDataset } from "../platform/dataset-source/open-dataset.js";
import { withoutProgram } from "../test/support/go-program.js";
import { startMinio } from "../test/support/minio.js";
import type { Measure } from "./figure.js";

const OBJECTS = 100_000;
const CLASSES = 100;
const READ = 200;

/** Listing a bucket as a dataset, from a MinIO on this machine. */
export const measureListing: Measure = async ({ rounds }, say) => {
  const minio = await startMinio();
  if (minio === undefined) throw new Error(withoutProgram("minio"));
  try {
    await minio.makeBucket("listing");
    const bucket = connectBucket(minio.access, "listing");
    await bucket.put("seed", Buffer.from("a small object"), false);
    say(`listing: making ${OBJECTS} objects`);
    // What a PUT leaves on MinIO's drive is one file that knows nothing of its name: copies of it are objects too, a hundred times quicker. Some are read below.
    for (let index = 0; index < OBJECTS; index++) {
      const object = join(minio.folder, "listing", "pictures", `class ${index % CLASSES}`, `${index}.jpg`);
      mkdirSync(object, { recursive: true });
      copyFileSync(join(minio.folder, "listing", "seed", "xl.meta"), join(object, "xl.meta"));
    }
    let best = Infinity;
    for (let round = 0; round < rounds; round++) {
      const { source } = await openDataset("s3://listing/pictures", minio.access, { clock: systemClock, random: Math.random });
      const start = performance.now();
      let listed = 0;
      for await (const _ of source.list()) listed++;
      if (listed !== OBJECTS) throw new Error(`expected ${OBJECTS} objects, listed ${listed}`);
      best = Math.min(best, (performance.now() - start) / 1000);
      say(`listing: ${Math.round(OBJECTS / ((performance.now() - start) / 1000))} a second`);
    }
    for (let index = 0; index < OBJECTS; index += OBJECTS / READ)
      if ((await bucket.get(`pictures/class ${index % CLASSES}/${index}.jpg`))?.bytes !== 14)
        throw new Error(`object ${index} cannot be read`);
    const note = `${OBJECTS} objects in ${CLASSES} folders, MinIO on this machine, best of ${rounds}`;
    return [{ row: "listing", name: "objects listed", value: OBJECTS / best, unit: "/s", wanted: { atLeast: 10_000 }, note }];
  } finally {
    await minio.stop();
  }
};
