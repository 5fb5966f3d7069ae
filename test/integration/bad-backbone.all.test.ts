import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { buildTopology } from "../../domain/network/catalog/catalog.js";
import { GraphBuilder } from "../../formats/onnx/graph-builder.js";
import { encodeSafetensors } from "../../formats/safetensors/safetensors.js";
import { readBundledBackbone } from "../../platform/backbone-store/bundled.js";
import { madeUpWeights } from "../golden/made-up-weights.js";
import { runGraft } from "../support/program.js";

/** Backbones that cannot be added, tried as a user would: each has a clear message and its exit code, and nothing is written to the store. */

const root = mkdtempSync(join(tmpdir(), "graft-bad-backbone-"));
const store = join(root, "store");
afterAll(() => rmSync(root, { recursive: true }));

interface Case {
  readonly name: string;
  /** After `graft backbone add`. */
  readonly args: () => string[] | Promise<string[]>;
  readonly exitCode: number;
  readonly message: RegExp;
}

const { network: withTop } = buildTopology("mobilenet_v2", { width: 0.35, size: 96, top: 1000 });

const unfit: readonly Case[] = [
  {
    name: "weights for another width",
    args: async () => [await bundledWeights(), "--topology", "mobilenet_v2_0.5_224"],
    exitCode: 3,
    message:
      /do not fit mobilenet_v2_0\.5_224 \(misshaped: block_1_project\/kernel must be \[1, 1, 48, 16\], found \[1, 1, 48, 8\].*they are exactly those of mobilenet_v2_0\.35_224; give --topology mobilenet_v2_0\.35_224.*\[WEIGHTS_INVALID\]/,
  },
  {
    name: "a network with an unknown ONNX operator",
    args: () => {
      const graph = new GraphBuilder();
      const input = graph.input("pictures", "float32", [1, 3, 32, 32]);
      const swish = graph.node("HardSwish", [graph.node("GlobalAveragePool", [input])], {}, "features.0.act");
      graph.node("Flatten", [swish], {}, "output");
      graph.output("output", "float32", [1, 3]);
      writeFileSync(join(root, "swish.onnx"), graph.encode("swish"));
      return ["swish.onnx", "--topology", "resnet18_v1"];
    },
    exitCode: 3,
    message: /"node_features\.0\.act" \(HardSwish\): this operator is not supported; supported are Add, .*\[NETWORK_INVALID\]/,
  },
  {
    name: "a top whose classes do not match",
    args: () => [
      ...topFile(),
      "--labels",
      textFile("labels-999.txt", Array.from({ length: 999 }, (_, index) => `class ${index}`).join("\n")),
    ],
    exitCode: 3,
    message:
      /a top whose classes do not match: layer "predictions" of mobilenet_v2_0\.35_96 tells 1000 classes apart, found 999 labels; .*\[WEIGHTS_INVALID\]/,
  },
  {
    name: "labels without a top",
    args: async () => [await bundledWeights(), "--topology", "mobilenet_v2_0.35_224", "--labels", textFile("two.txt", "a\nb\n")],
    exitCode: 3,
    message: /mobilenet_v2_0\.35_224 ends in "global_average_pool", which is no classifier .*\[WEIGHTS_INVALID\]/,
  },
  {
    name: "labels with an empty line",
    args: () => [...topFile(), "--labels", textFile("gap.txt", "a\n\nb\n")],
    exitCode: 3,
    message: /gap\.txt: expected one label a line, found nothing on line 2.*\[FILE_FORMAT_INVALID\]/,
  },
  {
    name: "missing labels",
    args: () => [...topFile(), "--labels", "nowhere.txt"],
    exitCode: 2,
    message: /--labels nowhere\.txt: expected a text file with one label a line, found nothing there.*\[USAGE_INVALID\]/,
  },
  {
    name: "a prefix that fits nothing",
    args: () => [...topFile(), "--strip-prefix", "module."],
    exitCode: 2,
    message: /prefix to strip "module\.": no tensor's name begins with it; the first names are .*\[USAGE_INVALID\]/,
  },
  {
    name: "a prefix after which nothing fits",
    args: () => [...topFile(), "--add-prefix", "backbone/"],
    exitCode: 2,
    message:
      /prefix of tensor names: with "backbone\/" in front the names are .*mobilenet_v2_0\.35_96 has no layer of such a name.*\[USAGE_INVALID\]/,
  },
  {
    name: "two files with the same tensors",
    args: () => {
      const [file = "", ...flags] = topFile();
      cpSync(join(root, file), join(root, "again.safetensors"));
      return [file, "again.safetensors", ...flags];
    },
    exitCode: 3,
    message: /tensor "Conv1\/kernel" is in again\.safetensors and in whole\.safetensors; give one of these files.*\[FILE_FORMAT_INVALID\]/,
  },
  {
    name: "a file that is no weights beside one that is",
    args: () => [...topFile(), textFile("notes.txt", "hello")],
    exitCode: 3,
    message: /notes\.txt: expected more weights beside whole\.safetensors.*leave the file out.*\[FILE_FORMAT_INVALID\]/,
  },
];

for (const { name, args, exitCode, message } of unfit) {
  test(name, async () => {
    const { stderr: error, ...found } = await runGraft(["backbone", "add", ...(await args()), "--name", "unfit", "--store", store], root);
    expect({ ...found, error }).toEqual({ exitCode, stdout: "", error: expect.stringMatching(message) as unknown });
    expect(error).not.toMatch(/unexpected failure|\n\s+at /);
    expect(existsSync(join(store, "backbones"))).toBe(false);
  });
}

async function bundledWeights(): Promise<string> {
  writeFileSync(join(root, "narrow.safetensors"), encodeSafetensors((await readBundledBackbone("mobilenet_v2_0.35_224")).backbone.weights));
  return "narrow.safetensors";
}

/** MobileNetV2 0.35 with a top of 1000 classes. */
function topFile(): string[] {
  writeFileSync(join(root, "whole.safetensors"), encodeSafetensors(madeUpWeights(withTop)));
  return ["whole.safetensors", "--topology", "mobilenet_v2_0.35_96"];
}

function textFile(name: string, text: string): string {
  writeFileSync(join(root, name), text);
  return name;
}
