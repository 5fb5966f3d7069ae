import { type Measure, median } from "./figure.js";
import { runGraft } from "./process.js";

const STARTS = 10;

/** How long a user waits for the first words. */
export const measureStart: Measure = async () => {
  const times: number[] = [];
  for (let start = 0; start < STARTS; start++) times.push((await runGraft(["--help"])).seconds);
  return [{ row: "start", name: "graft --help", value: median(times), unit: "s", wanted: { atMost: 0.3 }, note: `median of ${STARTS}` }];
};
