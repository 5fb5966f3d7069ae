import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { decodeLabels, encodeLabels, labelsOfFile } from "./labels.js";
import { decodePassport, encodePassport, type Passport } from "./passport.js";
import { examplePassport } from "../../test/support/example-passport.js";
import { decodeTrainedWeights, encodeTrainedWeights } from "./trained-weights.js";

describe("passport.json", () => {
  test("comes back, and equal passports are equal files whatever the order of their fields", () => {
    const bytes = encodePassport(examplePassport);
    assert.deepEqual(encodePassport(decodePassport(bytes)), bytes);
    const reversed = Object.fromEntries(Object.entries(examplePassport).reverse()) as unknown as Passport;
    assert.deepEqual(encodePassport(reversed), bytes);
  });

  test("damage and newer versions are told apart", () => {
    const write = (change: object): Uint8Array => new TextEncoder().encode(JSON.stringify({ ...examplePassport, ...change }));
    assert.throws(() => decodePassport(write({ formatVersion: 2 })), { code: "STORE_FORMAT_NEWER" });
    assert.throws(() => decodePassport(write({ formatVersion: "1" })), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodePassport(write({ weightsSha256: "AB" })), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodePassport(write({ files: { "model.onnx": "no" } })), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodePassport(new Uint8Array([0xff])), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodePassport(new TextEncoder().encode("null")), { code: "FILE_FORMAT_INVALID" });
  });
});

describe("weights.safetensors", () => {
  const tensors = new Map([["head/output/kernel", { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]);
  const origin = { backbone: "b", backboneDigest: "0".repeat(64), cut: "c", classes: ["a\n", 'b"'] };

  test("comes back", () => {
    const read = decodeTrainedWeights(encodeTrainedWeights(tensors, origin));
    assert.deepEqual(read.tensors, tensors);
    assert.deepEqual({ backbone: read.backbone, backboneDigest: read.backboneDigest, cut: read.cut, classes: read.classes }, origin);
  });

  test("a changed value is noticed", () => {
    const bytes = encodeTrainedWeights(tensors, origin);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1;
    assert.throws(() => decodeTrainedWeights(bytes), { code: "FILE_FORMAT_INVALID", message: /weightsSha256/ });
  });
});

describe("labels.txt", () => {
  test("a plain name is a plain line", () => assert.equal(encodeLabels(["daisy", "Rosé 1"]), "daisy\nRosé 1\n"));

  test("every name comes back", () => {
    const names = ["a\nb", "\\n", "\\", "\r", "", " ", "<script>", "\u2028", "日本"];
    assert.equal(encodeLabels(names).split("\n").length, names.length + 1);
    assert.deepEqual(decodeLabels(encodeLabels(names)), names);
    assert.deepEqual(decodeLabels(""), []);
  });

  test("damage is refused", () => {
    assert.throws(() => decodeLabels("a\nb"), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodeLabels("a\\x\n"), { code: "FILE_FORMAT_INVALID" });
  });

  test("a file that people wrote is read the same, with a byte order mark, CR LF and no last end", () => {
    const read = (text: string): string[] => labelsOfFile(new TextEncoder().encode(text), "my.txt");
    assert.deepEqual(read("\ufeffbackground\r\ntench, Tinca tinca \r\nhot dog"), ["background", "tench, Tinca tinca", "hot dog"]);
    assert.deepEqual(read(encodeLabels(["a\nb", "c\\d"])), ["a\nb", "c\\d"]);
    assert.throws(() => read("a\n\nb\n"), {
      code: "FILE_FORMAT_INVALID",
      message: /my.txt: expected one label a line, found nothing on line 2/,
    });
    assert.throws(() => read(""), { code: "FILE_FORMAT_INVALID", message: /my.txt: .* found no line/ });
  });
});
