import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "vitest";
import { noSplit } from "../metrics/metrics.js";
import { exampleReport } from "../../test/support/example-report.js";
import type { ReportInput } from "./report-input.js";
import { renderReport } from "./report.js";
import { duration, probability, wilsonInterval } from "./format.js";

/** Rendered, without the white space between tags. */
async function render(input: ReportInput): Promise<string> {
  return (await renderReport(input))
    .replace(/<style>[^]*<\/style>|\s+/g, (part) => (part.startsWith("<style>") ? part : " "))
    .replace(/> </g, "><");
}

const hostile = `<script>alert("1")</script>'><img src=x onerror=alert(2)>&amp;\n\u0000`;

describe("the report", () => {
  test("says the result, every class, what was left out and how to use the model", async () => {
    const page = await render(exampleReport());
    for (const expected of [
      "<dt>test accuracy</dt><dd>0.8800</dd><small>N = 125, 95 % interval 0.811 to 0.926</small>",
      "mobilenet_v2_1.0_224",
      "1,248 in 5 classes",
      "dandelion",
      "daisy/broken.jpg",
      "roses/b.jpg",
      "(0.7310)",
      "15 of 125; these are 1 of them",
      "graft predict out/flowers picture.jpg",
      "44".repeat(32),
      "training.optimizer.learningRate",
    ]) {
      assert.ok(page.includes(expected), expected);
    }
    assert.equal(page.match(/<svg /g)?.length, 2);
  });

  test("needs nothing but itself, and its policy allows nothing else", async () => {
    const page = await render(exampleReport());
    const style = /<style>([^]*?)<\/style>/.exec(page)?.[1] as string;
    const digest = createHash("sha256").update(style).digest("base64");
    assert.ok(
      page.includes(
        `content="default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-${digest}&#39;; base-uri &#39;none&#39;; form-action &#39;none&#39;"`,
      ),
    );
    assert.equal(page.match(/ style="/), null);
    assert.equal(page.match(/<(script|link|iframe|object|embed|base)\b/i), null);
    assert.equal(page.match(/\bon[a-z]+=/i), null);
    for (const [, source] of page.matchAll(/ (?:src|href|xlink:href)="([^"]*)"/g))
      assert.match(source as string, /^data:image\/jpeg;base64,/);
    assert.equal(page.match(/url\(|@import/), null);
  });

  test("its Python is Python: one statement a line, for every way of resizing", async () => {
    const example = exampleReport();
    const pageOf = (resize: "STRETCH" | "SHORT_SIDE"): Promise<string> => {
      const preprocessing = { ...example.passport.features.preprocessing, size: 224, resize, resizeTo: 256 };
      return renderReport(exampleReport({ passport: { ...example.passport, features: { ...example.passport.features, preprocessing } } }));
    };
    const shortSide = await pageOf("SHORT_SIDE");
    assert.ok(shortSide.includes("the short side resized to 256, then the centre 224 x 224, bilinear"));
    assert.ok(
      shortSide.includes(
        "\nscale = 256 / min(picture.size)\npicture = picture.resize([round(side * scale) for side in picture.size], Image.BILINEAR)\nleft, top = ",
      ),
    );
    const stretched = await pageOf("STRETCH");
    assert.ok(stretched.includes("stretched to 256 x 256, then the centre 224 x 224, bilinear"));
    assert.ok(stretched.includes("\npicture = picture.resize((256, 256), Image.BILINEAR)\nleft, top = [(side - 224) // 2 for side"));
    assert.ok((await renderReport(example)).includes("\npicture = picture.resize((224, 224), Image.BILINEAR)\nsession = "));
  });

  test("names can hold anything", async () => {
    const example = exampleReport();
    const names = example.metrics.classes.map((_, i) => `${i}${hostile}`);
    const page = await render(
      exampleReport({
        title: hostile,
        out: `out ${hostile}`,
        metrics: {
          ...example.metrics,
          classes: names,
          perClass: { split: "test", classes: names.map((label) => ({ label, precision: 1, recall: 1, f1: 1, support: 1 })) },
        },
        pictures: [{ label: hostile, pictures: [{ uri: hostile, thumbnail: Uint8Array.of(1) }] }],
        misclassified: [{ uri: hostile, thumbnail: Uint8Array.of(1), label: hostile, predicted: hostile, probability: 1e-7 }],
        samples: {
          ...example.samples,
          rejected: [{ uri: hostile, reason: hostile }],
          conflicts: [{ imageId: "0".repeat(64), uris: [hostile] }],
        },
        passport: { ...example.passport, backbone: { ...example.passport.backbone, name: hostile, origin: hostile } },
      }),
    );
    assert.equal(page.match(/<script|<img src=x|\u0000/), null);
    assert.ok(page.includes("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&gt;&lt;img src=x onerror=alert(2)&gt;&amp;amp;␊␀"));
    assert.equal(page.match(/<style>/g)?.length, 1);
    // Each tag that is opened is closed: nothing broke out of its place.
    for (const tag of ["bdi", "table", "tr", "td", "th", "ul", "li", "section", "figure", "div", "details"]) {
      assert.equal(page.match(new RegExp(`<${tag}[ >]`, "g"))?.length, page.match(new RegExp(`</${tag}>`, "g"))?.length, tag);
    }
  });

  test("without splits it says so and shows what there is", async () => {
    const example = exampleReport();
    const page = await render(
      exampleReport({
        metrics: { ...example.metrics, validation: noSplit, test: noSplit, perClass: null },
        confusion: null,
        misclassified: [],
        misclassifiedCount: 0,
        history: example.history.map((point) => ({ ...point, validation: undefined })),
      }),
    );
    assert.ok(page.includes("<dt>train accuracy</dt><dd>0.9812</dd>"));
    assert.ok(page.includes("There is no test split and no validation split"));
    assert.ok(!page.includes("Confusion matrix"));
  });

  test("bounds: 50 misclassified, 8 of a class, 100 rejected, a matrix up to 100 classes", async () => {
    const example = exampleReport();
    const many = <T>(n: number, of: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => of(i));
    const at = (classCount: number): Promise<string> =>
      render(
        exampleReport({
          metrics: { ...example.metrics, classes: many(classCount, (i) => `class ${i}`) },
          confusion: many(classCount, (i) => many(classCount, (j) => (i === j ? 5 : j === 0 ? 1 : 0))),
          pictures: [{ label: "a", pictures: many(20, (i) => ({ uri: `${i}.jpg`, thumbnail: Uint8Array.of(i) })) }],
          misclassified: many(70, (i) => ({ uri: `wrong-${i}.jpg`, thumbnail: undefined, label: "a", predicted: "b", probability: 1 })),
          misclassifiedCount: 70,
          samples: { ...example.samples, rejectedCount: 5000, rejected: many(200, (i) => ({ uri: `bad-${i}.jpg`, reason: "no image" })) },
        }),
      );
    const page = await at(100);
    assert.equal(page.match(/<img /g)?.length, 8);
    assert.equal(page.match(/<bdi>wrong-/g)?.length, 50);
    assert.equal(page.match(/<bdi>bad-/g)?.length, 100);
    assert.ok(page.includes("5,000 pictures rejected"));
    assert.equal(page.match(/<td class="r/g)?.length, 100);
    const larger = await at(101);
    assert.equal(larger.match(/<td class="r/g), null);
    assert.ok(larger.includes("101 classes are too many"));
  });
});

describe("numbers", () => {
  test("of any size", () => {
    assert.deepEqual([0.0404, 8.44, 200, 7500].map(duration), ["40 ms", "8.4 s", "3 min 20 s", "2 h 5 min"]);
    assert.deepEqual([1, 0.5, 0.00012, 3.2e-9, 0].map(probability), ["1.0000", "0.5000", "0.0001", "3.2e-9", "0.0000"]);
  });

  test("Wilson's interval", () => {
    // statsmodels.stats.proportion.proportion_confint(110, 125, method="wilson")
    const [low, high] = wilsonInterval(110, 125);
    assert.ok(Math.abs(low - 0.81142) < 1e-4 && Math.abs(high - 0.92598) < 1e-4, `${low} ${high}`);
    const [none, some] = wilsonInterval(0, 10);
    assert.ok(none === 0 && Math.abs(some - 0.27753) < 1e-4);
  });
});
