import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { tensorStatistics } from "../../domain/training/histogram.js";
import { crc32c, maskedCrc32c } from "./crc32c.js";
import { decodeEventFile, encodeEventFile, eventFileName } from "./event-file.js";
import { decodeRecords, encodeRecords } from "./records.js";
import { trainingEvent, type TrainingSnapshot } from "./training-events.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const snapshot = (step: number): TrainingSnapshot => ({
  step,
  wallSeconds: 1_700_000_000 + step,
  train: { loss: 1 / (step + 1), accuracy: 0.5 },
  validation: { loss: 2 / (step + 1), accuracy: 0.25 },
  learningRate: 0.125,
  layers: new Map([
    [
      "head/output",
      {
        weights: tensorStatistics(Float32Array.from({ length: 1000 }, (_, i) => (i - 500) / 1000)),
        biases: tensorStatistics(Float32Array.of(0, 0, 0)),
        preActivations: tensorStatistics(Float32Array.of(-1, 2, 3)),
        activations: tensorStatistics(Float32Array.of(NaN)),
      },
    ],
  ]),
});

describe("CRC-32C", () => {
  test("the vectors of RFC 3720, B.4", () => {
    assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
    assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
    assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
    assert.equal(crc32c(text("123456789")), 0xe3069283);
  });

  test("masked", () => {
    assert.equal(maskedCrc32c(text("123456789")), maskedByBigInt(0xe3069283n));
  });
});

/** Rotated right by 15 bits, plus 0xa282ead8, in 32 bits. */
function maskedByBigInt(crc: bigint): number {
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn);
}

describe("records", () => {
  test("come back, empty ones too", () => {
    const records = [text("one"), new Uint8Array(0), text("three")];
    assert.deepEqual(decodeRecords(encodeRecords(records)), records);
    assert.deepEqual(decodeRecords(new Uint8Array(0)), []);
  });

  test("every flipped bit and every cut is noticed", () => {
    const file = encodeRecords([text("some data"), text("more")]);
    for (let byte = 0; byte < file.length; byte++) {
      const damaged = file.slice();
      damaged[byte] = (damaged[byte] as number) ^ 1;
      assert.throws(() => decodeRecords(damaged), { code: "FILE_FORMAT_INVALID" });
    }
    const first = 12 + 9 + 4;
    for (let length = 1; length < file.length; length++) {
      if (length !== first) assert.throws(() => decodeRecords(file.subarray(0, length)), { code: "FILE_FORMAT_INVALID" });
    }
  });
});

describe("event files", () => {
  test("come back with every scalar and histogram", () => {
    const events = [0, 10, 20].map((step) => trainingEvent(snapshot(step)));
    const read = decodeEventFile(encodeEventFile(1_700_000_000, events));
    assert.equal(read.length, 3);
    for (const [i, event] of read.entries()) {
      const written = events[i] as (typeof events)[number];
      assert.equal(event.step, written.step);
      assert.equal(event.wallSeconds, written.wallSeconds);
      assert.deepEqual(
        [...event.scalars],
        [...written.scalars].map(([tag, value]) => [tag, Math.fround(value)]),
      );
      assert.deepEqual([...event.histograms.keys()], [...written.histograms.keys()]);
      for (const [tag, histogram] of event.histograms) {
        assert.deepEqual(histogram.limits, written.histograms.get(tag)?.limits);
        assert.deepEqual(histogram.counts, written.histograms.get(tag)?.counts);
        assert.equal(histogram.sumOfSquares, written.histograms.get(tag)?.sumOfSquares);
      }
    }
  });

  test("tags", () => {
    const { scalars, histograms } = trainingEvent(snapshot(3));
    assert.deepEqual([...scalars.keys()].slice(0, 6), [
      "train/loss",
      "train/accuracy",
      "validation/loss",
      "validation/accuracy",
      "learning_rate",
      "head/output/weights/mean",
    ]);
    // Without a finite value there is nothing to show.
    assert.deepEqual([...histograms.keys()], ["head/output/weights", "head/output/biases", "head/output/pre_activations"]);
    assert.equal(trainingEvent({ ...snapshot(3), validation: undefined }).scalars.has("validation/loss"), false);
  });

  test("equal events give equal bytes", () => {
    assert.deepEqual(encodeEventFile(7, [trainingEvent(snapshot(1))]), encodeEventFile(7, [trainingEvent(snapshot(1))]));
  });

  test("another file is refused", () => {
    assert.throws(() => decodeEventFile(text("plain text that is no event file")), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodeEventFile(encodeRecords([text("x")])), { code: "FILE_FORMAT_INVALID" });
    assert.throws(() => decodeEventFile(new Uint8Array(0)), { code: "FILE_FORMAT_INVALID" });
  });

  test("file name", () => assert.equal(eventFileName(1_700_000_000.7), "events.out.tfevents.1700000000.graft"));
});
