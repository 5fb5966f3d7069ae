import assert from "node:assert";
import { readFileSync } from "node:fs";
import { type DescMessage } from "@bufbuild/protobuf";
import { describe, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { CodedError } from "../../domain/errors.js";
import { defaults } from "../../domain/job/defaults.js";
import type { Problem } from "../../domain/job/problems.js";
import { resolveJob } from "../../domain/job/resolve.js";
import { JobSpecSchema } from "../../proto/gen/graft/v1/job_pb.js";
import { parseJobFile } from "./job-file.js";

const page = readFileSync("docs/job-file.md", "utf8");
const [minimal = "", every = "", refused = ""] = [...page.matchAll(/```yaml\n([^]*?)```/g)].map(([, yaml]) => yaml ?? "");

/** Names of all fields of a message and of the messages in it. */
function fieldNames(message: DescMessage): string[] {
  return message.fields.flatMap((field) => [
    field.jsonName,
    ...(field.message?.typeName.startsWith("graft.") !== true ? [] : fieldNames(field.message)),
  ]);
}

function without<T extends object, Name extends keyof T>(value: T, ...names: readonly Name[]): Omit<T, Name> {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name as Name))) as Omit<T, Name>;
}

describe("docs/job-file.md", () => {
  test("names every field of the spec", () => {
    const missing = fieldNames(JobSpecSchema).filter((name) => !new RegExp(`\\b${name}:`).test(page));
    assert.deepEqual(missing, []);
  });

  test("its files are right, and its values are the defaults", () => {
    const fallback = resolveJob(parseJobFile(minimal, "minimal").spec);
    const { spec } = parseJobFile(every, "every");
    // What the comments call an example, or whose default they state ("default: none").
    const { training: given = {} } = spec;
    const training = without(given, "learningRateMultipliers", "weightDecayExempt", "classWeights", "earlyStopping", "evaluateEveryEpochs");
    const head = without(spec.head ?? {}, "layers");
    assert.deepEqual(resolveJob({ ...without(spec, "preprocessing", "cut", "views"), head, training }), fallback);
    resolveJob(spec);
  });

  test("its comments name the defaults of what is not chosen", () => {
    for (const kind of ["adam", "rmsprop"] as const) {
      const [, settings = ""] = new RegExp(`# or ${kind}: (\\{.*\\})`).exec(every) ?? [];
      assert.deepEqual(parseYaml(settings), defaults[kind], kind);
    }
    assert.deepEqual(defaults.adamw, defaults.adam, "adamw: the same fields");
    assert.deepEqual(parseJobFile(every, "every").spec.views?.randomResizedCrop, defaults.randomResizedCrop);
    const [, evaluations] = /evaluateEveryEpochs: .*; default: (\d+) times/.exec(every) ?? [];
    assert.equal(Number(evaluations), defaults.evaluations);
  });

  test("what it calls not supported is refused", () => {
    const { spec } = parseJobFile(refused, "refused");
    assert.throws(
      () => resolveJob(spec),
      (error) =>
        error instanceof CodedError &&
        (error.details["problems"] as Problem[]).length === 6 &&
        (error.details["problems"] as Problem[]).every(({ message }) => message.startsWith("not supported")),
    );
  });
});
