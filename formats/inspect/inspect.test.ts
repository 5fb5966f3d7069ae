import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { INPUT, type Network } from "../../domain/network/network.js";
import { scaledToOne } from "../../domain/network/preprocessing.js";
import { tensorStatistics } from "../../domain/training/histogram.js";
import { examplePassport } from "../../test/support/example-passport.js";
import { exampleReport } from "../../test/support/example-report.js";
import { encodeShard } from "../arrow-shard/arrow-shard.js";
import { encodeThumbnails } from "../arrow-shard/thumbnails.js";
import { encodeCheckpoint } from "../checkpoint/checkpoint.js";
import { stoppingStart } from "../../domain/training/early-stopping.js";
import { parameterLayout } from "../../domain/training/parameters.js";
import { encodeListing } from "../listing/listing.js";
import { encodeSamples } from "../listing/samples.js";
import { encodeMetrics } from "../metrics/metrics.js";
import { encodeOnnx } from "../onnx/encode-network.js";
import { encodePassport } from "../passport/passport.js";
import { encodeTrainedWeights } from "../passport/trained-weights.js";
import { encodeEventFile } from "../tensorboard/event-file.js";
import { encodeTfjs } from "../tfjs/encode.js";
import { inspect } from "./inspect.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const network: Network = {
  name: "small",
  inputShape: [2, 2, 3],
  layers: [
    { name: "pool", inputs: [INPUT], kind: "globalAveragePool" },
    { name: "head/output", inputs: ["pool"], kind: "dense", units: 2, bias: true },
  ],
  output: "head/output",
};
const weights = new Map([
  ["head/output/kernel", { shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
  ["head/output/bias", { shape: [2], data: Float32Array.of(0, 0) }],
]);
const preprocessing = { size: 2, resize: "STRETCH", resizeTo: 2, ...scaledToOne } as const;
const ids = new Uint8Array(64).fill(0xab, 0, 32).fill(0xcd, 32);

const files: Readonly<Record<string, { readonly bytes: Uint8Array; readonly says: readonly RegExp[] }>> = {
  "shard.arrow": {
    bytes: encodeShard({
      featureSpecDigest: "33".repeat(32),
      shape: [4],
      view: 1,
      imageIds: ids,
      features: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    }),
    says: [/feature shard, version 1; every checksum holds/, /rows +2/, /\[4\] float32/, /mean 4.5,.* from 1 to 8/, /(ab){32}/],
  },
  "thumbnails.arrow": {
    bytes: encodeThumbnails({ imageIds: ids, jpegs: [text("abc"), text("de")] }),
    says: [/thumbnails: 2 pictures, 5 bytes/],
  },
  "listing.arrow": {
    bytes: encodeListing([{ uri: "daisy/\u001b[31m.jpg", bytes: 7, state: "s", label: "daisy" }]),
    says: [/part of a listing: 1 pictures/, /daisy {2}daisy\/\\u001b\[31m.jpg {2}7 bytes/],
  },
  "samples.arrow": {
    bytes: encodeSamples({ imageIds: ids, labels: Int32Array.of(0, 1), splits: Uint8Array.of(0, 2), uris: ["a.jpg", "b.jpg"] }),
    says: [/part of a sample table: 2 pictures/, /train +1/, /validation +0/, /test +1/, /class 1 {2}test {2}b.jpg/],
  },
  "weights.safetensors": {
    bytes: encodeTrainedWeights(weights, { backbone: "b", backboneDigest: "00", cut: "pool", classes: ["x", "y"] }),
    says: [
      /2 tensors, 8 values; weightsSha256 [0-9a-f]{64} holds/,
      /cut +pool/,
      /head\/output\/kernel {2}\[3, 2\] {2}mean 3.5,.*from 1 to 6/,
    ],
  },
  state: {
    bytes: encodeCheckpoint(
      {
        jobId: "job-1",
        step: 40,
        parameters: new Float32Array(8),
        slots: new Map(),
        statistics: new Map(),
        stopping: stoppingStart,
        since: { loss: 0, correct: 0, rows: 0 },
        history: [],
      },
      {
        layout: parameterLayout({
          ...network,
          inputShape: [3],
          layers: network.layers.slice(1).map((layer) => ({ ...layer, inputs: [INPUT] })),
        }),
        statisticsLayout: { entries: [], length: 0 },
      },
    ),
    says: [/checkpoint: 2 tensors, 8 values/, /jobId +job-1/, /step +40/, /parameters\/head\/output\/bias/],
  },
  "model.onnx": {
    bytes: encodeOnnx(network, weights, { preprocessing, batch: "N", outputName: "probabilities" }),
    says: [/ONNX model/, /input +images uint8 \[N, 2, 2, 3\]/, /output +probabilities float32 \[N, 2\]/],
  },
  "model.json": {
    bytes: encodeTfjs(network, weights, { preprocessing, labels: ["x", "y"], version: "1" }).get("model.json") as Uint8Array,
    says: [/TensorFlow.js LayersModel small/, /output +head\/output \[\?, 2\]/, /labels +x, y/, /pool {2}globalAveragePool {2}\[3\]/],
  },
  "passport.json": {
    bytes: encodePassport(examplePassport),
    says: [/passport, version 1/, /weightsSha256 +4{64}/, /spec.training.optimizer.learningRate +0.001/],
  },
  "metrics.json": { bytes: text(encodeMetrics(exampleReport().metrics)), says: [/metrics/, /test.accuracy +0.88/] },
  "events.out.tfevents.1.graft": {
    bytes: encodeEventFile(1, [
      {
        step: 3,
        wallSeconds: 1,
        scalars: new Map([["train/loss", 0.5]]),
        histograms: new Map([["w", tensorStatistics(Float32Array.of(1, 2))]]),
      },
    ]),
    says: [
      /event file: 1 events; every checksum holds/,
      /train\/loss +scalar, 1 points, at step 3: 0.5/,
      /w +histogram.*2 values from 1 to 2/,
    ],
  },
};

describe("inspect prints what is in", () => {
  test.each(Object.entries(files))("%s", (name, { bytes, says }) => {
    const printed = inspect(bytes, name);
    for (const expected of says) assert.match(printed, expected);
    assert.ok(printed.endsWith("\n"));
    assert.equal(printed.replaceAll("\n", "").match(/\p{Cc}/u), null);
  });

  test("the bytes decide, not the name", () => {
    for (const { bytes, says } of Object.values(files)) assert.match(inspect(bytes, "x"), says[0] as RegExp);
  });
});

describe("inspect refuses", () => {
  const foreign = {
    empty: "",
    text: "hello",
    "a list": "[1]",
    "JSON of another program": '{"name":"x"}',
    "broken JSON": '{"formatVersion":',
    "a JPEG": "\u00ff\u00d8",
  };
  test.each(Object.entries(foreign))("%s", (_kind, content) => {
    assert.throws(() => inspect(text(content), "file"), { name: "CodedError", code: "FILE_FORMAT_INVALID" });
  });

  test("every file that was cut off, wherever", () => {
    for (const [name, { bytes }] of Object.entries(files)) {
      for (let part = 1; part < 40; part++) {
        const cut = bytes.slice(0, Math.floor((bytes.length * part) / 40));
        assert.throws(() => inspect(cut, name), { name: "CodedError", code: "FILE_FORMAT_INVALID" }, `${name}, ${part}/40`);
      }
    }
  });
});
