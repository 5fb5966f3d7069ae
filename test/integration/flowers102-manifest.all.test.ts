import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { decodeManifest } from "../../formats/manifest/manifest.js";
import { temporaryFolder } from "../support/local-jobs.js";
import { pythonWith } from "../support/python.js";

const found = pythonWith(["numpy==2.2.6", "scipy==1.15.3"]);
const python = "python" in found ? found.python : "";
const script = "examples/data/flowers102-manifest.py";
const why = "missing" in found ? ` (skipped: ${found.missing})` : "";

describe.skipIf("missing" in found)(`examples/data/flowers102-manifest.py${why}`, () => {
  const temporary = temporaryFolder();
  afterAll(temporary.remove);
  const folder = join(temporary.path, "flowers102");
  const asPublished = join(temporary.path, "as-published");

  /** MATLAB files by the same library that the script reads them with, in the types that the published ones have. */
  function save(file: string, variables: Readonly<Record<string, readonly number[]>>): void {
    const program = `
import json, sys, numpy, scipy.io
scipy.io.savemat(sys.argv[1], {name: numpy.array([values], "uint16") for name, values in json.loads(sys.argv[2]).items()})`;
    execFileSync(python, ["-c", program, join(folder, file), JSON.stringify(variables)]);
  }

  function run(...args: readonly string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    return spawnSync(python, [script, folder, ...args], { encoding: "utf8" });
  }

  /** Picture number -> label and split, as graft reads the manifest. */
  function manifest(): string[] {
    const { uris, labels, labelOf, splitOf } = decodeManifest(readFileSync(join(folder, "manifest.csv")), "csv", "manifest.csv");
    const splits = ["train", "validation", "test"];
    return uris.map((uri, row) => `${uri} ${labels[labelOf[row]!]} ${splits[splitOf![row]!]}`);
  }

  beforeAll(() => {
    mkdirSync(join(folder, "jpg"), { recursive: true });
    for (let number = 1; number <= 6; number++) writeFileSync(join(folder, `jpg/image_0000${number}.jpg`), "");
    save("imagelabels.mat", { labels: [77, 77, 3, 3, 102, 3] });
    save("setid.mat", { trnid: [2, 5], valid: [3], tstid: [6, 1, 4] });
    renameSync(folder, asPublished);
  });
  beforeEach(() => {
    rmSync(folder, { recursive: true, force: true });
    cpSync(asPublished, folder, { recursive: true });
  });

  test("labels and splits of the two files become a manifest that graft reads", () => {
    const { status, stdout, stderr } = run();
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(stdout).toContain("6 pictures in 3 classes (2 train, 1 validation, 3 test)");
    expect(manifest()).toEqual([
      "jpg/image_00001.jpg 077 test",
      "jpg/image_00002.jpg 077 train",
      "jpg/image_00003.jpg 003 validation",
      "jpg/image_00004.jpg 003 test",
      "jpg/image_00005.jpg 102 train",
      "jpg/image_00006.jpg 003 test",
    ]);
  });

  test("train and test swapped, and names for the classes", () => {
    const names = join(folder, "names.json");
    writeFileSync(names, JSON.stringify({ 3: "canterbury bells", 77: 'passion "flower"', 102: "blackberry lily" }));
    expect(run("--swap-train-and-test", "--names", names).stdout).toContain("(3 train, 1 validation, 2 test)");
    expect(manifest().slice(0, 3)).toEqual([
      'jpg/image_00001.jpg passion "flower" train',
      'jpg/image_00002.jpg passion "flower" test',
      "jpg/image_00003.jpg canterbury bells validation",
    ]);
  });

  test.each<[problem: string, damage: () => unknown, message: string]>([
    [
      "a picture that is not there",
      () => unlinkSync(join(folder, "jpg/image_00004.jpg")),
      "1 of 6 pictures are not there, the first jpg/image_00004.jpg",
    ],
    ["no setid.mat", () => unlinkSync(join(folder, "setid.mat")), "setid.mat: expected a MATLAB file, found No such file or directory"],
    ["a file of another kind", () => writeFileSync(join(folder, "setid.mat"), "<html>".repeat(50)), "setid.mat: expected a MATLAB file"],
    ["the two files confused", () => save("setid.mat", { labels: [1, 2] }), "setid.mat: expected a variable trnid, found labels"],
    [
      "a picture without a label",
      () => save("setid.mat", { trnid: [7], valid: [3], tstid: [1] }),
      "trnid lists picture 7, but imagelabels.mat has labels for 1 to 6",
    ],
    ["a picture in two splits", () => save("setid.mat", { trnid: [2], valid: [3], tstid: [2] }), "picture 2 is listed twice"],
    [
      "a class without a name",
      () => {
        writeFileSync(join(folder, "names.json"), '{"3": "canterbury bells"}');
        return ["--names", join(folder, "names.json")];
      },
      "expected a name for each of 3 classes",
    ],
  ])("%s: the message says so, and nothing is written", (_problem, damage, message) => {
    const flags = damage();
    const { status, stderr } = run(...(Array.isArray(flags) ? (flags as string[]) : []));
    expect(status).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("Traceback");
    expect(() => readFileSync(join(folder, "manifest.csv"))).toThrow("ENOENT");
  });
});
