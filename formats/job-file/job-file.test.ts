import assert from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { Problem } from "../../domain/job/problems.js";
import { checkJobObject, parseJobFile } from "./job-file.js";

const head = "apiVersion: graft.dev/v1alpha1\nkind: GraftJob\n";

/** The problems of a file, as the user reads them. */
function problemsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    assert(error instanceof CodedError, `expected a CodedError, got ${String(error)}`);
    assert.equal(error.code, "SPEC_INVALID");
    const problems = error.details["problems"] as readonly Problem[];
    for (const problem of problems) assert(error.message.includes(problem.message), "the message lists every problem");
    return problems.map(({ path, message, line }) => `${line ?? "-"} ${path}: ${message}`);
  }
  return [];
}

const parse = (text: string) => () => parseJobFile(text, "job.yaml");

describe("a job file", () => {
  test("gives the spec as written", () => {
    const { metadata, spec } = parseJobFile(
      `${head}metadata: {name: flowers, labels: {a.b/c: "1"}}\nspec:\n  dataset: {source: s3://pictures/}\n  training: {epochs: 30, optimizer: {sgd: {learningRate: 1e-2}}}\n`,
      "job.yaml",
    );
    assert.deepEqual(metadata, { name: "flowers", labels: { "a.b/c": "1" } });
    assert.deepEqual(spec, { dataset: { source: "s3://pictures/" }, training: { epochs: 30, optimizer: { sgd: { learningRate: 0.01 } } } });
  });

  test("may be JSON, and as an object gives the same", () => {
    const job = { apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", spec: { dataset: { source: "x" }, suspend: false } };
    assert.deepEqual(parseJobFile(JSON.stringify(job, undefined, 2), "job.json").spec, job.spec);
    assert.deepEqual(checkJobObject(job, "request").spec, job.spec);
  });

  test("reports every problem at once, with path and line", () => {
    const text = `${head}spec:
  dataset: {source: 12}
  preprocessing: {resize: stretch, mean: [1, two, 3]}
  head:
    layers:
      - dense: {units: "128"}
      - dense: {units: 5}
        dropout: {rate: 0.5}
  training:
    epochs: 30
    steps: 100
    batchSize: 9.5
    optimizer:
      sgd: {learningRate: fast, momentun: 0.9}
    earlystopping: {patienceEvaluations: 3}
    schedule:
    classWeights: {given: {weights: {"tulips, red": .inf}}}
  minimum_accuracy: 0.5
  trainers: [1]
  suspend: yes
  pictures: 3
`;
    assert.deepEqual(problemsOf(parse(text)), [
      "4 spec.dataset.source: must be text, found 12; put it in quotes",
      '5 spec.preprocessing.resize: must be one of STRETCH, SHORT_SIDE; found "stretch"; did you mean STRETCH?',
      '5 spec.preprocessing.mean[1]: must be a number, found "two"',
      '8 spec.head.layers[0].dense.units: must be a whole number between -2147483648 and 2147483647, found "128"; leave out the quotes',
      "9 spec.head.layers[1]: dense and dropout exclude each other; keep one of them",
      "11 spec.training: epochs and steps exclude each other; keep one of them",
      "14 spec.training.batchSize: must be a whole number between -2147483648 and 2147483647, found 9.5",
      '16 spec.training.optimizer.sgd.learningRate: must be a number, found "fast"',
      "16 spec.training.optimizer.sgd.momentun: unknown field; did you mean momentum?",
      "17 spec.training.earlystopping: unknown field; did you mean earlyStopping?",
      "18 spec.training.schedule: has no value; give it one ({} for all defaults) or leave the field out",
      '19 spec.training.classWeights.given.weights["tulips, red"]: must be a finite number, found Infinity',
      "20 spec.minimum_accuracy: unknown field; did you mean minimumAccuracy?",
      "21 spec.trainers: must be a group of fields (min, max, pod, engine), found a list",
      '22 spec.suspend: must be true or false, found "yes"',
      "23 spec.pictures: unknown field; known here: dataset, backbone, preprocessing, cut, views, head, initialWeights, training, minimumAccuracy, extractors, trainers, numericsProfile, cacheDomain, suspend, activeDeadlineSeconds, ttlSecondsAfterFinished, backoffLimit, deletionPolicy",
    ]);
  });

  test("needs apiVersion, kind and spec", () => {
    assert.deepEqual(problemsOf(parse("dataset: {source: x}")), [
      "1 dataset: unknown field; known here: apiVersion, kind, metadata, spec, status",
      "1 apiVersion: is missing; write apiVersion: graft.dev/v1alpha1",
      "1 kind: is missing; write kind: GraftJob",
      "1 spec: is missing; a job needs at least spec.dataset.source",
    ]);
    assert.deepEqual(problemsOf(parse("apiVersion: graft.dev/v2\nkind: Job\nspec: {}")), [
      '1 apiVersion: must be graft.dev/v1alpha1, found "graft.dev/v2"',
      '2 kind: must be GraftJob, found "Job"',
    ]);
  });

  test.each([
    ["", "the file is empty"],
    ["# nothing\n", "the file is empty"],
    ["just words", 'must be a group of fields (apiVersion, kind, metadata, spec, status), found "just words"'],
    [`${head}spec: {a: [}`, "no valid YAML"],
    [`${head}spec:\n  cut: a\n  cut: b\n`, "5 : a field is given twice"],
    [`${head}spec: {}\n---\n${head}spec: {}\n`, "one job a file; found 2 documents"],
    [`${head}spec: *missing\n`, "missing"],
    [`${head}spec: !!js/function "x"\n`, "no valid YAML"],
    [" ".repeat(1024 * 1024 + 1), "a job file may have 1048576 bytes, found 1048577"],
  ])("%j is refused", (text, message) => {
    expect(problemsOf(parse(text)).join("\n")).toContain(message);
  });

  test("may use an alias, but not to grow a millionfold", () => {
    const shared = parseJobFile(`${head}spec:\n  extractors: &workers {min: 1, max: 2}\n  trainers: *workers\n`, "job.yaml");
    assert.deepEqual(shared.spec.trainers, { min: 1, max: 2 });
    let bomb = `${head}a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n`;
    for (let level = 1; level < 9; level++)
      bomb += `a${level}: &a${level} [${Array(10)
        .fill(`*a${level - 1}`)
        .join(", ")}]\n`;
    expect(problemsOf(parse(bomb)).join("\n")).toContain("YAML aliases");
  });

  test("lists at most 100 problems", () => {
    const text = `${head}spec:\n${Array.from({ length: 150 }, (_, index) => `  zzzzz${index}: 1\n`).join("")}`;
    const problems = problemsOf(parse(text));
    assert.equal(problems.length, 101);
    assert.equal(problems[100], "- : and 50 more");
  });

  test("takes no field from a prototype, and leaves prototypes alone", () => {
    expect(problemsOf(parse(`${head}spec: {__proto__: {suspend: true}, constructor: 1}`))).toHaveLength(2);
    assert.equal(({} as Record<string, unknown>)["suspend"], undefined);
  });

  test("that kubectl read back is accepted: what the server adds is known, status is not looked at", () => {
    const { spec } = parseJobFile(
      `${head}metadata: {name: a, uid: u, generation: 2, resourceVersion: "7", creationTimestamp: "2026-01-31T12:00:00Z"}\nspec: {cut: x}\nstatus: {phase: TRAINING, new: 1}\n`,
      "job.yaml",
    );
    assert.deepEqual(spec, { cut: "x" });
  });
});

test.each(readdirSync("examples").filter((file) => file.endsWith(".yaml")))("examples/%s is right", (file) => {
  const { spec } = parseJobFile(readFileSync(`examples/${file}`, "utf8"), file);
  assert(spec.dataset?.source);
});
