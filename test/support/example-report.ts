import type { ReportInput } from "../../formats/report/report-input.js";
import type { Metrics } from "../../formats/metrics/metrics.js";
import { examplePassport } from "./example-passport.js";

/** A report's input with something in every section. `classes` of the passport's five, 25 test pictures each. */
export function exampleReport(changes: Partial<ReportInput> = {}): ReportInput {
  const { classes } = examplePassport.dataset;
  const confusion = classes.map((_, row) => classes.map((_, column) => (row === column ? 22 : column === (row + 1) % 5 ? 3 : 0)));
  const metrics: Metrics = {
    formatVersion: 1,
    classes,
    train: { accuracy: 0.9812, loss: 0.0871, count: 999, steps: 313 },
    validation: { accuracy: 0.8952, loss: 0.3162, count: 124 },
    test: { accuracy: 0.88, loss: 0.3341, count: 125 },
    perClass: { split: "test", classes: classes.map((label) => ({ label, precision: 0.88, recall: 0.88, f1: 0.88, support: 25 })) },
    weightsSha256: examplePassport.weightsSha256,
    extraction: { extracted: 1248, cached: 0, rejected: 1, imagesPerSecond: 203.4 },
    training: { millisecondsPerStep: 1.1 },
  };
  return {
    title: "flower_photos",
    passport: examplePassport,
    metrics,
    history: Array.from({ length: 30 }, (_, i) => ({
      step: Math.round(((i + 1) * 313) / 30),
      train: { loss: 1.6 / (1 + i * 0.6), accuracy: 1 - 0.5 / (1 + i * 0.5) },
      validation: { loss: 1.6 / (1 + i * 0.25), accuracy: 1 - 0.5 / (1 + i * 0.2) },
    })),
    confusion,
    pictures: classes.map((label) => ({ label, pictures: [{ uri: `${label}/1.jpg`, thumbnail: Uint8Array.of(0xff, 0xd8) }] })),
    misclassified: [{ uri: "roses/7.jpg", thumbnail: undefined, label: "roses", predicted: "tulips", probability: 0.731 }],
    misclassifiedCount: 15,
    samples: {
      rejectedCount: 1,
      rejected: [{ uri: "daisy/broken.jpg", reason: "a JPEG was expected, the file ends after 120 bytes" }],
      duplicateCount: 1,
      conflictCount: 1,
      conflicts: [{ imageId: "88".repeat(32), uris: ["daisy/a.jpg", "roses/b.jpg"] }],
      splitConflictCount: 0,
    },
    seconds: { total: 8.4, extraction: 6.1, training: 0.4 },
    out: "out/flowers",
    ...changes,
  };
}
