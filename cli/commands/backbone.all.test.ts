import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { encodeSafetensors } from "../../formats/safetensors/safetensors.js";
import { readBundledBackbone } from "../../platform/backbone-store/bundled.js";
import { runGraft } from "../../test/support/program.js";

const root = mkdtempSync(join(tmpdir(), "graft-backbone-"));
const store = join(root, "store");
const out = join(root, "out");
afterAll(() => rmSync(root, { recursive: true }));

interface Added {
  readonly name: string;
  readonly digest: string;
  readonly featureShape: readonly number[];
  readonly cut: string;
}

async function add(...args: string[]): Promise<Added> {
  const { exitCode, stdout, stderr } = await runGraft(["backbone", "add", ...args, "--store", store, "--json"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  return JSON.parse(stdout) as Added;
}

async function listed(): Promise<Map<string, string>> {
  const { stdout } = await runGraft(["backbone", "list", "--store", store, "--json"]);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { kind: string; name: string; digest: string });
  return new Map(rows.filter(({ kind }) => kind === "backbone").map(({ name, digest }) => [name, digest]));
}

test("what was exported is a backbone again: frozen below the cut it is the network it came from, bit for bit", async () => {
  const trained = await runGraft([
    "train",
    "samples/flowers",
    "--backbone",
    "mobilenet_v2_0.35_224",
    "--steps",
    "20",
    "--store",
    store,
    "--out",
    out,
  ]);
  expect(trained.exitCode).toBe(0);
  const added = await add(out, "--name", "again");
  expect(added).toMatchObject({ name: "again", featureShape: [1280], cut: "global_average_pool" });
  // The digest covers topology, weights and preprocessing, so that the features of both are one.
  expect(added.digest).toBe((await listed()).get("mobilenet_v2_0.35_224"));
  const second = await runGraft([
    "train",
    "samples/flowers",
    "--backbone",
    "again",
    "--steps",
    "20",
    "--store",
    store,
    "--out",
    join(root, "second"),
    "--json",
  ]);
  const metrics = JSON.parse(second.stdout.trim().split("\n").at(-1) ?? "") as { weightsSha256: string; extraction: { extracted: number } };
  expect(metrics.extraction.extracted).toBe(0);
  expect(metrics.weightsSha256).toBe(
    (JSON.parse(readFileSync(join(out, "metrics.json"), "utf8")) as { weightsSha256: string }).weightsSha256,
  );
});

test("with its classifier kept, a result is a backbone whose labels are those of labels.txt; jobs are still cut below it", async () => {
  const added = await add(out, "--name", "whole", "--keep-classifier");
  const labels = readFileSync(join(out, "labels.txt"), "utf8").trim().split("\n");
  expect(labels).toEqual(["daisy", "dandelion", "roses", "sunflowers", "tulips"]);
  expect(added).toMatchObject({
    cut: "global_average_pool",
    featureShape: [1280],
    labels: 5,
    classifier: { layer: "head/output", input: "global_average_pool", classes: 5 },
  });
  expect(added.digest).not.toBe((await listed()).get("mobilenet_v2_0.35_224"));
  const { stdout } = await runGraft(["backbone", "show", "whole", "--store", store]);
  expect(stdout).toMatch(/classifier +head\/output on global_average_pool, 5 outputs, 5 labels: daisy; dandelion; roses; …\n/);
  const shown = await runGraft(["backbone", "show", "whole", "--store", store, "--json"]);
  expect(JSON.parse(shown.stdout)).toMatchObject({ labels, output: "head/probabilities" });
  const trained = await runGraft([
    ...["train", "samples/flowers", "--backbone", "whole", "--steps", "20"],
    ...["--store", store, "--out", join(root, "on-whole")],
  ]);
  expect(trained).toMatchObject({ exitCode: 0, stderr: "" });
});

test("files that make one network together, by themselves or as a folder, whatever they are called", async () => {
  const { backbone } = await readBundledBackbone("mobilenet_v2_0.35_224");
  const folder = join(root, "parts");
  const names = join(root, "names.txt");
  mkdirSync(folder);
  const tensors = [...backbone.weights].map(([name, tensor]) => [`net/${name}`, tensor] as const);
  const top = new Map([
    ["net/predictions/kernel", { shape: [1280, 1000], data: new Float32Array(1280 * 1000).fill(0.5) }],
    ["net/predictions/bias", { shape: [1000], data: new Float32Array(1000) }],
  ]);
  writeFileSync(join(folder, "below"), encodeSafetensors(new Map(tensors)));
  writeFileSync(join(folder, "top"), encodeSafetensors(top));
  writeFileSync(join(folder, "README"), "no weights\n");
  writeFileSync(names, Array.from({ length: 1000 }, (_, index) => `class ${index}`).join("\r\n"));
  const flags = ["--strip-prefix", "net/", "--topology", "mobilenet_v2_0.35_224"];

  const below = await add(join(folder, "below"), ...flags, "--name", "below");
  expect(below.digest).toBe((await listed()).get("mobilenet_v2_0.35_224"));
  const both = await add(join(folder, "below"), join(folder, "top"), ...flags, "--labels", names, "--name", "both");
  expect(both).toMatchObject({ labels: 1000, cut: "global_average_pool", classifier: { layer: "predictions", classes: 1000 } });
  const asFolder = await add(folder, ...flags, "--keep-classifier");
  expect(asFolder).toMatchObject({ name: "parts", digest: both.digest, labels: 0 });
  // Of one name in two folders: both are read, and their common tensors are named with both files.
  mkdirSync(join(root, "other"));
  writeFileSync(join(root, "other", "top"), encodeSafetensors(top));
  const twice = await runGraft(["backbone", "add", join(folder, "top"), join(root, "other", "top"), "--store", store]);
  expect(twice.exitCode).toBe(3);
  expect(twice.stderr).toMatch(/tensor "net\/predictions\/bias" is in .*other\/top and in top; give one of these files/);
});

test("an ONNX model is found in a folder by its content", async () => {
  const folder = join(root, "onnx");
  mkdirSync(folder);
  cpSync(join(out, "model.onnx"), join(folder, "weights.bin"));
  writeFileSync(join(folder, "notes.json"), "{}");
  const added = await add(folder);
  expect(added).toMatchObject({ name: "onnx", featureShape: [1280] });
});

test("the SHA-256 is checked first, and a right one lets the file in", async () => {
  const file = "samples/backbones/mobilenet_v2_0.35_224/weights.safetensors";
  const sha256 = createHash("sha256").update(readFileSync(file)).digest("hex");
  const refused = await runGraft([
    "backbone",
    "add",
    file,
    "--sha256",
    sha256.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
    "--store",
    store,
  ]);
  expect(refused.exitCode).toBe(3);
  expect(refused.stderr).toContain(`found ${sha256}; nothing was imported`);
  const added = await add(file, "--sha256", sha256, "--topology", "mobilenet_v2_0.35_224", "--name", "checked");
  expect(added.digest).toBe((await listed()).get("mobilenet_v2_0.35_224"));
});

test("a LayersModel comes over HTTP with its weight files; what the server does not have is named", async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    try {
      response.end(readFileSync(join(out, "tfjs", (request.url ?? "").replace("/models/flowers/", ""))));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/models/flowers`;
  try {
    const added = await add(`${url}/model.json`);
    expect(added.name).toBe("flowers");
    expect(added.digest).toBe((await listed()).get("mobilenet_v2_0.35_224"));
    expect(asked.length).toBeGreaterThan(1);
    const absent = await runGraft(["backbone", "add", `${url}/other.json`, "--store", store]);
    expect(absent).toMatchObject({ exitCode: 2, stdout: "" });
    expect(absent.stderr).toMatch(/other\.json: expected a weights file, the server answered 404/);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

test("show lists every layer with its shape; sums and legal cuts agree with what is known of the network", async () => {
  const { stdout } = await runGraft(["backbone", "show", "mobilenet_v2_1.0_224", "--store", store, "--json"]);
  const shown = JSON.parse(stdout) as {
    parameters: number;
    multiplyAdds: number;
    layers: { name: string; cut: boolean; shape: number[] }[];
  };
  expect([shown.parameters, Math.round(shown.multiplyAdds / 1e6)]).toEqual([2_257_984, 299]);
  expect(shown.layers.find(({ name }) => name === "block_15_add")).toMatchObject({ cut: true, shape: [7, 7, 160] });
  expect(shown.layers.find(({ name }) => name === "block_15_expand")).toMatchObject({ cut: false });
});

test("a topology without weights: added without a file, and a warning where its random features would be used", async () => {
  const added = await add("--untrained", "--topology", "mobilenet_v2_0.35_96");
  expect(added).toMatchObject({ name: "mobilenet_v2_0.35_96_untrained", featureShape: [1280] });
  const job = ["train", "samples/flowers", "--backbone", added.name, "--steps", "2", "--store", store, "--out", join(root, "random")];
  const trained = await runGraft(job);
  expect(trained.exitCode, trained.stderr).toBe(0);
  expect(trained.stdout).toContain(
    "warning: mobilenet_v2_0.35_96_untrained is untrained, and everything up to global_average_pool stays as random as it is",
  );

  for (const [args, message] of [
    [["--untrained"], "expected a --topology beside it"],
    [["--untrained", "model.h5", "--topology", "resnet18_v2"], "leave model.h5 out"],
    [["--untrained", "--topology", "resnet18_v2", "--sha256", "00"], "leave --sha256 out"],
    [[], "expected a file, a folder or a URL of weights, or --untrained"],
  ] as const) {
    const refused = await runGraft(["backbone", "add", ...args, "--store", store]);
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain(message);
  }
});
