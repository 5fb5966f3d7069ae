import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listEngines } from "../../platform/engine/engines.js";
import { samplePictures, temporaryFolder } from "../support/local-jobs.js";
import { runGraft } from "../support/program.js";

/** What can be wrong with a transfer mode, tried as a user would: the thing is named with what to do, and nothing is extracted, trained or left behind. */

const folder = temporaryFolder();
const pictures = join(folder.path, "pictures");
const twoClasses = join(folder.path, "two-classes");
const store = join(folder.path, "store");
const first = join(folder.path, "first");
const small = ["--backbone", "mobilenet_v2_0.35_224"];
const hasTensorflow = (await listEngines()).some(({ name, available }) => name === "tensorflow" && available);

beforeAll(async () => {
  samplePictures(pictures, 6);
  samplePictures(twoClasses, 6, 2);
  const { exitCode, stderr } = await runGraft([
    "train",
    pictures,
    "--store",
    store,
    "--out",
    first,
    ...small,
    "--size",
    "96",
    "--steps",
    "5",
  ]);
  expect(exitCode, stderr).toBe(0);
});
afterAll(folder.remove);

const cases: readonly {
  readonly name: string;
  readonly args: readonly string[];
  readonly exitCode: number;
  readonly message: RegExp;
  readonly engine?: string;
}[] = [
  {
    name: "a cut that two edges cross",
    args: [pictures, ...small, "--cut", "block_15_expand"],
    exitCode: 3,
    message: /cut "block_15_expand": other layers .*pass by it.*the nearest legal cuts are "block_14_add".*\[CUT_ILLEGAL\]/u,
  },
  {
    name: "a cut that is no layer",
    args: [pictures, ...small, "--cut", "block_15_ad"],
    exitCode: 3,
    message: /did you mean "block_15_add".*\[CUT_ILLEGAL\]/u,
  },
  {
    name: "a result whose classes are others",
    args: [twoClasses, "--from", first],
    exitCode: 3,
    message:
      /initial weights from .*first: its classes are "daisy", "dandelion", .*the dataset has "daisy", "dandelion".*\[WEIGHTS_INVALID\]/u,
  },
  {
    name: "a folder that is no result",
    args: [pictures, "--from", pictures],
    exitCode: 2,
    message: /--from .*passport\.json cannot be read \(ENOENT\); give the folder that `graft train --out` wrote.*\[USAGE_INVALID\]/u,
  },
  {
    name: "an old class of a network without a classifier",
    args: [pictures, ...small, "--from-class", "daisy"],
    exitCode: 2,
    message: /class "daisy": backbone mobilenet_v2_0\.35_224 has no classifier of its own.*--labels.*\[SPEC_INVALID\]/u,
  },
  {
    name: "a whole network in one grain that does not fit in memory",
    args: [pictures, "--cut", "input", "--batch", "4096", "--grains", "1"],
    exitCode: 3,
    message:
      /a trainer needs about .* of memory .*, there are .*; it fits with .*(training\.grains|training\.batchSize|--grains|--batch).*\[JOB_TOO_LARGE\]/u,
    engine: "tensorflow",
  },
];

test.each(cases)("$name", async ({ args, exitCode, message, engine }) => {
  if (engine === "tensorflow" && !hasTensorflow) return;
  const out = join(folder.path, "out");
  const features = readdirSync(join(store, "features"));
  const found = await runGraft(["train", ...args, "--store", store, "--out", out]);
  expect(found.stderr).toMatch(message);
  expect(found.exitCode).toBe(exitCode);
  expect(existsSync(out)).toBe(false);
  expect(readdirSync(join(store, "features"))).toEqual(features);
});
