import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeSafetensors } from "../../formats/safetensors/safetensors.js";
import { readBundledBackbone } from "../../platform/backbone-store/bundled.js";

/** What a user can get wrong, tried as a user would: each has a clear message on one line, its exit code, and loses nothing. */

const program = resolve(process.env["GRAFT_TEST_DIST"] ?? "dist", "cli/main.js");
const root = mkdtempSync(join(tmpdir(), "graft-bad-input-"));
const store = join(root, "store");
const flowers = join(root, "flowers");
/** Small and quick: the smallest network, a short training. */
const quick = ["--backbone", "mobilenet_v2_0.35_224", "--steps", "20"];

interface Outcome {
  readonly exitCode: number | null;
  readonly out: string;
  readonly error: string;
}

beforeAll(() => {
  for (const label of readdirSync("samples/flowers", { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    mkdirSync(join(flowers, label.name), { recursive: true });
    for (const file of readdirSync(join("samples/flowers", label.name)).slice(0, 12))
      cpSync(join("samples/flowers", label.name, file), join(flowers, label.name, file));
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function graft(...args: string[]): Promise<Outcome> {
  return started(process.execPath, [program, ...args], { ...process.env, GRAFT_STORE: store });
}

function started(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Outcome> {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    const texts = { out: "", error: "" };
    child.stdout.on("data", (data: Buffer) => (texts.out += data.toString()));
    child.stderr.on("data", (data: Buffer) => (texts.error += data.toString()));
    child.on("error", failed).on("close", (exitCode) => done({ exitCode, ...texts }));
  });
}

/** A folder of its own for one case: `files` are copies of a picture, or given bytes, by path; a path that ends in "/" is an empty folder. */
function dataset(name: string, files: Readonly<Record<string, Uint8Array | "picture">>): string {
  const folder = join(root, "datasets", name);
  let picture = 0;
  const pictures = readdirSync(join(flowers, "roses")).map((file) => join(flowers, "roses", file));
  for (const [path, content] of Object.entries(files)) {
    const full = join(folder, path);
    mkdirSync(path.endsWith("/") ? full : join(full, ".."), { recursive: true });
    if (path.endsWith("/")) continue;
    // A byte after the end of a JPEG makes another picture of it.
    writeFileSync(
      full,
      content === "picture" ? Buffer.concat([readFileSync(pictures[picture % pictures.length]!), Buffer.from([picture++ % 256])]) : content,
    );
  }
  return folder;
}

function copies(folder: string, count: number): Record<string, "picture"> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${folder}/${String(index)}.jpg`, "picture" as const]));
}

interface Case {
  readonly name: string;
  readonly args: () => string[] | Promise<string[]>;
  readonly exitCode: number;
  readonly message: RegExp;
}

const cases: readonly Case[] = [
  {
    name: "a missing folder",
    args: () => ["train", "nowhere"],
    exitCode: 3,
    message: /nowhere: expected a folder of pictures .*found nothing there.*\[DATASET_NOT_FOUND\]/,
  },
  {
    name: "an empty folder",
    args: () => ["train", dataset("empty", { "x/": "picture", "y/": "picture" })],
    exitCode: 3,
    message: /expected.*found no picture.*\[DATASET_INVALID\]/,
  },
  {
    name: "one class",
    args: () => ["train", dataset("one-class", copies("roses", 4))],
    exitCode: 3,
    message: /expected at least two classes, found only "roses".*\[DATASET_INVALID\]/,
  },
  {
    name: "an empty class",
    args: () => ["train", dataset("empty-class", { ...copies("a", 4), ...copies("b", 4), "tulips/": "picture" })],
    exitCode: 3,
    message: /"tulips".*\[DATASET_INVALID\]/,
  },
  {
    name: "an empty class in a given split",
    args: () => [
      "train",
      dataset("empty-in-split", { ...copies("train/a", 4), ...copies("train/b", 4), ...copies("test/a", 4), "test/b/": "picture" }),
    ],
    exitCode: 3,
    message: /"b" in test|"test\/b"|test\/b.*\[DATASET_INVALID\]/,
  },
  {
    name: "files that are no pictures",
    args: () => [
      "train",
      dataset("no-pictures", { ...copies("a", 6), ...copies("b", 6), "b/text.jpg": Buffer.from("this is no picture\n") }),
      ...quick,
    ],
    exitCode: 3,
    message: /1 of 13 pictures \(7\.7 %\) were rejected, at most 1 % are allowed .*"b\/text\.jpg".*\[TOO_MANY_REJECTED\]/,
  },
  {
    name: "a truncated JPEG",
    args: () => {
      const folder = dataset("truncated", { ...copies("a", 6), ...copies("b", 6) });
      truncateSync(join(folder, "a/3.jpg"), 2_000);
      return ["train", folder, ...quick];
    },
    exitCode: 3,
    message: /"a\/3\.jpg": .*damaged or cut short.*\[TOO_MANY_REJECTED\]/,
  },
  {
    name: "a decompression bomb",
    args: async () => {
      const bomb = await sharp({ create: { width: 16_000, height: 16_000, channels: 3, background: "#000000" }, limitInputPixels: false })
        .png({ compressionLevel: 9 })
        .toBuffer();
      expect(bomb.length).toBeLessThan(2_000_000);
      return ["train", dataset("bomb", { ...copies("a", 6), ...copies("b", 6), "a/bomb.png": bomb }), ...quick];
    },
    exitCode: 3,
    message: /"a\/bomb\.png": expected at most 100000000 pixels, found a PNG picture of 16000 x 16000.*\[TOO_MANY_REJECTED\]/,
  },
  {
    name: "an unknown backbone",
    args: () => ["train", flowers, "--backbone", "mobilenet_v9"],
    exitCode: 3,
    message: /"mobilenet_v9" is not known; there are mobilenet_v2_0\.35_224, mobilenet_v2_1\.0_224.*\[BACKBONE_UNKNOWN\]/,
  },
  {
    name: "an unknown cut",
    args: () => ["train", flowers, "--cut", "block_15_ad"],
    exitCode: 3,
    message: /has no such layer; did you mean "block_15_add".*\[CUT_ILLEGAL\]/,
  },
  {
    name: "an illegal cut",
    args: () => ["train", flowers, "--cut", "block_2_expand"],
    exitCode: 3,
    message: /the nearest legal cuts are "block_1_project_BN", "block_2_add".*\[CUT_ILLEGAL\]/,
  },
  {
    name: "an unknown optimiser",
    args: () => ["train", flowers, "--optimizer", "addam"],
    exitCode: 2,
    message: /--optimizer: must be one of sgd.*did you mean adam\?.*\[USAGE_INVALID\]/,
  },
  { name: "an unknown command", args: () => ["trian"], exitCode: 2, message: /unknown command 'trian'\n.*train/ },
  { name: "an unknown flag", args: () => ["train", flowers, "--stepz", "3"], exitCode: 2, message: /unknown option '--stepz'/ },
  {
    name: "an output folder that is a file",
    args: () => {
      writeFileSync(join(root, "a-file"), "");
      return ["train", flowers, "--out", "a-file"];
    },
    exitCode: 2,
    message: /--out a-file: a folder was expected, this is a file.*\[USAGE_INVALID\]/,
  },
  {
    name: "a missing job file",
    args: () => ["run", "nowhere.yaml"],
    exitCode: 2,
    message: /nowhere\.yaml: expected a job file \(YAML or JSON\), found nothing there.*\[USAGE_INVALID\]/,
  },
  { name: "an empty job file", args: () => ["run", jobFile("empty.yaml", "")], exitCode: 2, message: /empty\.yaml.*\[SPEC_INVALID\]/s },
  {
    name: "a broken job file",
    args: () => ["run", jobFile("broken.yaml", "kind: GraftJob\nspec: {dataset: [\n")],
    exitCode: 2,
    message: /broken\.yaml.*\[SPEC_INVALID\]/s,
  },
  {
    name: "a job file with wrong fields",
    args: () => [
      "run",
      jobFile(
        "wrong.yaml",
        "apiVersion: graft.dev/v1alpha1\nkind: GraftJob\nspec:\n  dataset: {source: x}\n  training: {epoch: 3, batchSize: -1}\n",
      ),
    ],
    exitCode: 2,
    message: /training\.epoch.*\[SPEC_INVALID\]/s,
  },
  {
    name: "a store of a newer format",
    args: () => {
      const newer = join(root, "newer");
      mkdirSync(newer);
      writeFileSync(join(newer, "graft-store.json"), '{"formatVersion":99}');
      return ["train", flowers, "--store", newer];
    },
    exitCode: 7,
    message: /store .*newer has format 99; this graft reads up to format 1.*\[STORE_FORMAT_NEWER\]/,
  },
  {
    name: "a weights file with a missing tensor",
    args: () => weightsFile("missing", (tensors) => tensors.delete("Conv1/kernel")),
    exitCode: 3,
    message: /Conv1\/kernel.*\[WEIGHTS_INVALID\]/s,
  },
  {
    name: "a weights file with a surplus tensor",
    args: () => weightsFile("surplus", (tensors) => tensors.set("extra/kernel", { shape: [1], data: new Float32Array(1) })),
    exitCode: 3,
    message: /extra\/kernel.*\[WEIGHTS_INVALID\]/s,
  },
  {
    name: "a weights file with a misshaped tensor",
    args: () => weightsFile("misshaped", (tensors) => tensors.set("Conv1/kernel", { shape: [3, 3, 3, 8], data: new Float32Array(216) })),
    exitCode: 3,
    message: /Conv1\/kernel.*\[3, 3, 3, 8\].*\[WEIGHTS_INVALID\]/s,
  },
  {
    name: "weights with another SHA-256",
    args: () => ["backbone", "add", readyFile("any.bin"), "--sha256", "0".repeat(64)],
    exitCode: 3,
    message: /expected SHA-256 0{64}, found .*nothing was imported.*\[WEIGHTS_INVALID\]/,
  },
];

for (const { name, args, exitCode, message } of cases) {
  test(name, async () => {
    const { out, error, ...found } = await graft(...(await args()));
    expect({ ...found, error }).toEqual({ exitCode, error: expect.stringMatching(message) as unknown });
    expect(error).not.toMatch(/unexpected failure|\n\s+at /);
    expect(out).not.toMatch(/^complete/m);
  });
}

test("a training that diverges: the step is named, the last good checkpoint is kept", async () => {
  const diverging = join(root, "diverging");
  // The decay grows the weights by half at every step, so that they overflow after some two hundred.
  const recipe = [
    "--optimizer",
    "sgd",
    "--schedule",
    "constant",
    "--learning-rate",
    "0.01",
    "--momentum",
    "0",
    "--weight-decay",
    "250",
    "--steps",
    "600",
  ];
  const { exitCode, out, error } = await graft(
    "train",
    flowers,
    "--backbone",
    "mobilenet_v2_0.35_224",
    ...recipe,
    "--store",
    diverging,
    "--json",
  );
  expect(error).toMatch(
    /training diverged at step \d+: the loss is (NaN|Infinity), a number was expected; the learning rate was 0\.01.*\[TRAINING_DIVERGED\]/,
  );
  expect(exitCode).toBe(4);
  expect(JSON.parse(out.trim().split("\n").at(-1) ?? "")).toMatchObject({ kind: "failed", code: "TRAINING_DIVERGED" });
  const [job = ""] = readdirSync(join(diverging, "jobs"));
  const kept = readdirSync(join(diverging, "jobs", job, "checkpoints")).map(Number);
  expect(Math.max(...kept)).toBeGreaterThan(0);
  expect(Math.max(...kept)).toBeLessThan(Number(/at step (\d+)/.exec(error)?.[1]));
});

test("a learning rate far too high fails at the first steps", async () => {
  const { exitCode, error } = await graft("train", flowers, ...quick, "--optimizer", "sgd", "--learning-rate", "1e38");
  expect(error).toMatch(/training diverged at step \d+.*\[TRAINING_DIVERGED\]/);
  expect(exitCode).toBe(4);
});

test("a folder without permission stops the job, and rejects no picture", async (context) => {
  const uid = 65_534;
  if (process.getuid?.() !== 0 || spawnSync("setpriv", ["--version"]).status !== 0)
    return context.skip("needs root and setpriv, to become another user");
  const folder = dataset("locked", { ...copies("a", 4), ...copies("b", 4), ...copies("c", 4) });
  chmodSync(root, 0o755);
  chmodSync(join(folder, "b"), 0o000);
  const mine = join(root, "mine");
  mkdirSync(mine, { mode: 0o777 });
  chmodSync(mine, 0o777);
  const asOther = ["--reuid", String(uid), "--regid", String(uid), "--clear-groups", process.execPath, program];
  if (spawnSync("setpriv", [...asOther, "--version"]).status !== 0) return context.skip("another user cannot read this checkout");
  const { exitCode, error } = await started("setpriv", [
    ...asOther,
    "train",
    folder,
    "--store",
    join(mine, "store"),
    "--out",
    join(mine, "out"),
  ]);
  expect(error).toMatch(/locked\/b\/: expected to read it, found no permission; make it readable.*\[DATASET_UNREADABLE\]/);
  expect(exitCode).toBe(3);

  const unwritable = await started("setpriv", [
    ...asOther,
    "train",
    flowers,
    "--store",
    join(root, "not-mine"),
    "--out",
    join(mine, "out"),
  ]);
  expect(unwritable.error).toMatch(/not-mine.*EACCES.*\[STORE_UNAVAILABLE\]/);
  expect(unwritable.exitCode).toBe(7);
});

test("names in any script, with spaces, line feeds, markup and dots work, and reach no terminal as they are", async () => {
  const names = ["Blüte 花 🌼", "a\nb", "<script>alert(1)</script>".replace("/", "\u2215"), "..x", "-rf", "\u001b[31mred"];
  const folder = dataset(
    "names",
    Object.assign({}, ...names.map((label) => copies(label, 6)), { "a\nb/x y\n<b>.jpg": "picture" }) as Record<string, "picture">,
  );
  const out = join(root, "names <out>");
  const { exitCode, out: text, error } = await graft("train", folder, ...quick, "--out", out);
  expect({ exitCode, error }).toEqual({ exitCode: 0, error: "" });
  expect(text).not.toContain("\u001b");
  expect(readFileSync(join(out, "report.html"), "utf8")).not.toContain("<script>alert");
  const predicted = await graft("predict", out, join(folder, "a\nb/x y\n<b>.jpg"));
  expect(predicted.exitCode).toBe(0);
  const planned = await graft("plan", folder);
  expect(planned.exitCode).toBe(0);
  expect(planned.out).toContain("a\\u000ab");
  expect(planned.out + predicted.out).not.toContain("\u001b");
});

test("a manifest that points out of its folder is refused", async () => {
  const folder = dataset("manifest", {
    ...copies("pictures", 6),
    "list.csv": Buffer.from("uri,label\npictures/0.jpg,a\n../../flowers/roses/x.jpg,b\n"),
  });
  const { exitCode, error } = await graft("train", join(folder, "list.csv"));
  expect(error).toMatch(/list\.csv.*\.\.\/\.\.\/flowers.*\[DATASET_INVALID\]/s);
  expect(exitCode).toBe(3);
});

test("a full disk: the failure is named, and with room again the same command goes on", async (context) => {
  const disk = join(root, "disk");
  mkdirSync(disk);
  const size = (megabytes: number): string[] => ["-t", "tmpfs", "-o", `size=${String(megabytes)}m`, "tmpfs", disk];
  if (spawnSync("mount", size(3)).status !== 0) return context.skip("needs the right to mount a tmpfs");
  try {
    const args = ["train", flowers, ...quick, "--store", join(disk, "store")];
    const full = await graft(...args, "--out", join(root, "full-out"));
    expect(full.error).toMatch(/the disk is full.*free some space and run again, nothing that was stored is lost.*\[STORE_FULL\]/);
    expect(full.exitCode).toBe(7);
    expect(existsSync(join(root, "full-out", "metrics.json"))).toBe(false);
    expect(spawnSync("mount", ["-o", "remount,size=200m", disk]).status).toBe(0);
    expect(await graft(...args, "--out", join(root, "full-out"))).toMatchObject({ exitCode: 0, error: "" });

    // The result folder may lie on a full disk too.
    expect(spawnSync("sh", ["-c", `dd if=/dev/zero of=${disk}/filler bs=1M count=500 2>/dev/null; true`]).status).toBe(0);
    const noRoom = await graft("train", flowers, ...quick, "--out", join(disk, "out"));
    expect(noRoom.error).toMatch(/--out .*the disk is full.*the result is kept in the store.*\[STORE_FULL\]/);
    expect(noRoom.exitCode).toBe(7);
    expect(readdirSync(join(disk, "out")).filter((file) => file.endsWith(".part"))).toEqual([]);
  } finally {
    spawnSync("umount", [disk]);
  }
});

test("two runs on one store at the same time both complete, with equal digests", async () => {
  const shared = join(root, "shared");
  const run = (out: string): Promise<Outcome> => graft("train", flowers, ...quick, "--store", shared, "--out", join(root, out), "--json");
  const both = await Promise.all([run("twin-a"), run("twin-b")]);
  expect(both.map(({ exitCode, error }) => ({ exitCode, error }))).toEqual([
    { exitCode: 0, error: "" },
    { exitCode: 0, error: "" },
  ]);
  const [a, b] = both.map(({ out }) => (JSON.parse(out.trim().split("\n").at(-1) ?? "") as { weightsSha256: string }).weightsSha256);
  expect(a).toMatch(/^[0-9a-f]{64}$/);
  expect(b).toBe(a);
});

function jobFile(name: string, text: string): string {
  writeFileSync(join(root, name), text);
  return name;
}

function readyFile(name: string): string {
  writeFileSync(join(root, name), "x");
  return name;
}

type Tensors = Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;

async function weightsFile(name: string, change: (tensors: Tensors) => unknown): Promise<string[]> {
  const tensors: Tensors = new Map((await readBundledBackbone("mobilenet_v2_0.35_224")).backbone.weights);
  change(tensors);
  writeFileSync(join(root, `${name}.safetensors`), encodeSafetensors(tensors));
  return ["backbone", "add", `${name}.safetensors`, "--topology", "mobilenet_v2_0.35_224"];
}
