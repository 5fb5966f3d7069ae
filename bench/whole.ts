import { join } from "node:path";
import type { Figure, Measure } from "./figure.js";
import { runJob } from "./process.js";

/** Whole jobs as a user runs them, from the start of the command to its end: from nothing, then twice on the features that the first one left. */
export const measureWhole: Measure = async ({ pictures, temporary }, say) => {
  const store = join(temporary, "whole-store");
  const train = (name: string, ...flags: string[]) =>
    runJob(["train", pictures, "--store", store, "--out", join(temporary, name), ...flags]);

  const first = await train("first");
  const { extraction, training, train: trained, test } = first.metrics;
  const parts = extraction.extracted / (extraction.imagesPerSecond ?? NaN) + (trained.steps * (training.millisecondsPerStep ?? NaN)) / 1000;
  say(`whole: from nothing ${first.seconds.toFixed(1)} s, test accuracy ${String(test.accuracy)}`);

  const second = await train("second", "--learning-rate", "0.003");
  say(`whole: with another learning rate ${second.seconds.toFixed(1)} s`);
  const long = await train("long", "--steps", "4000");
  say(`whole: 4,000 steps ${long.seconds.toFixed(1)} s`);

  const note = `${extraction.extracted} pictures, ${trained.steps} steps`;
  const figures: Figure[] = [
    {
      row: "whole",
      name: "from nothing to report",
      value: first.seconds,
      unit: "s",
      wanted: { atMost: parts + 3 },
      note: `${note}; parts ${parts.toFixed(1)} s + 3 s`,
    },
    { row: "whole", name: "another learning rate", value: second.seconds, unit: "s", note },
    { row: "whole", name: "pictures decoded by it", value: second.metrics.extraction.extracted, unit: "", wanted: { atMost: 0 } },
    {
      row: "whole",
      name: "4,000 steps on kept features",
      value: long.seconds,
      unit: "s",
      wanted: { atMost: 8 },
      note: `${long.metrics.training.millisecondsPerStep?.toFixed(2) ?? ""} ms a step`,
    },
  ];
  return figures;
};
