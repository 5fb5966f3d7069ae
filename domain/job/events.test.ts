import assert from "node:assert";
import { test } from "vitest";
import { renderEvent, renderEventJson, type JobEvent } from "./events.js";
import { byteSize, count, duration, percentOf } from "./figures.js";

const evaluation: JobEvent = {
  kind: "evaluation",
  step: 320,
  epoch: 10,
  crossEntropy: 0.31415,
  trainAccuracy: 0.9375,
  validationLoss: 0.4,
  validationAccuracy: 0.872,
  validationCount: 125,
  seconds: 1.25,
};

test.each<[JobEvent, string]>([
  [{ kind: "phase", phase: "Extracting" }, "Extracting: computing features"],
  [{ kind: "scan", pictures: 1250000 }, "scan: 1,250,000 pictures"],
  [{ kind: "plan", plan: {}, text: "a\nb" }, "a\nb"],
  [
    { kind: "extraction", done: 999, total: 1000, cached: 400, rejected: 0, imagesPerSecond: 212.4 },
    "extraction: 999 of 1,000 (99.9 %), 400 cached, 212 images/s",
  ],
  [
    { kind: "extraction", done: 0, total: 10, cached: 0, rejected: 2, imagesPerSecond: 0 },
    "extraction: 0 of 10 (0.0 %), 0 cached, 2 rejected",
  ],
  [{ kind: "step", step: 1500, steps: 4000, millisecondsPerStep: 1.142 }, "step 1,500 of 4,000, 1.14 ms/step"],
  [evaluation, "step 320, epoch 10.0, cross entropy 0.3141, train accuracy 93.8 %, validation accuracy 87.2 % (N=125), 1.3 s"],
  [
    { ...evaluation, validationLoss: null, validationAccuracy: null, validationCount: 0 },
    "step 320, epoch 10.0, cross entropy 0.3141, train accuracy 93.8 %, no validation pictures, 1.3 s",
  ],
  [{ kind: "warning", message: "a\u001b[31mb\nc" }, "warning: a\\u001b[31mb\\u000ac"],
  [
    { kind: "complete", testAccuracy: 0.872, testCount: 125, weightsSha256: "0123456789abcdef", location: "out", seconds: 75 },
    "complete: test accuracy 87.2 % (N=125), 1 min 15 s, weights 0123456789ab, result in out",
  ],
  [
    { kind: "complete", testAccuracy: null, testCount: 0, weightsSha256: "0123456789abcdef", location: "out", seconds: 5 },
    "complete: no test pictures, 5.0 s, weights 0123456789ab, result in out",
  ],
  [{ kind: "failed", code: "SPEC_INVALID", message: "job: 1 problem\n  cut: x" }, "failed: SPEC_INVALID: job: 1 problem\n  cut: x"],
])("%j", (event, line) => {
  assert.equal(renderEvent(event), line);
  const json = renderEventJson(event);
  assert(!json.includes("\n"));
  assert.equal((JSON.parse(json) as { kind: string }).kind, event.kind);
});

test("an event as JSON keeps every field, but of a plan the text", () => {
  assert.deepEqual(JSON.parse(renderEventJson(evaluation)), evaluation);
  assert.deepEqual(JSON.parse(renderEventJson({ kind: "plan", plan: { steps: 3 }, text: "x" })), { kind: "plan", plan: { steps: 3 } });
});

test("figures", () => {
  assert.deepEqual(
    [0, 1, 999, 1000, 1234567].map((value) => count(value, "row")),
    ["0 rows", "1 row", "999 rows", "1,000 rows", "1,234,567 rows"],
  );
  assert.deepEqual([0, 999, 999.6, 1000, 9_994, 9_996, 99_960, 999_500, 4e9].map(byteSize), [
    "0 B",
    "999 B",
    "1.00 kB",
    "1.00 kB",
    "9.99 kB",
    "10.0 kB",
    "100 kB",
    "1.00 MB",
    "4.00 GB",
  ]);
  assert.deepEqual([0, 9.94, 9.96, 59.4, 59.6, 3599.6, 86_400, Infinity].map(duration), [
    "0.0 s",
    "9.9 s",
    "10 s",
    "59 s",
    "1 min 0 s",
    "1 h 0 min",
    "1 d 0 h",
    "unknown",
  ]);
  assert.deepEqual([percentOf(0, 0), percentOf(9999, 10000), percentOf(1, 3)], ["100.0 %", "99.9 %", "33.3 %"]);
});
