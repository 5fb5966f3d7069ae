import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { DescMessage } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { operationOf, defaultBackoffLimit } from "../domain/job/operation.js";
import { resolveJob } from "../domain/job/resolve.js";
import type { JobSpec } from "../domain/job/spec.js";
import { graftJobCrd } from "../formats/crd/graft-job-crd.js";
import { messageRules, mutableSpecFields } from "../formats/crd/rules.js";
import { JobSpecSchema } from "../proto/gen/graft/v1/job_pb.js";
import { badSpecs } from "./support/bad-specs.js";

const FILE = "deploy/k8s/base/graft-job-crd.yaml";

/** The comments of a proto file, by `Message` and `Message.jsonName`; what is nested in a message (its enums) has none here. */
function protoComments(text: string): Map<string, string> {
  const comments = new Map<string, string>();
  let message: string | undefined;
  let lines: string[] = [];
  for (const line of text.split("\n").map((each) => each.trim())) {
    const [, comment] = /^\/\/ ?(.*)$/u.exec(line) ?? [];
    const [, begun] = /^message (\w+) \{/u.exec(line) ?? [];
    const [, field] = /^(?:optional |repeated )?[\w.]+(?:<.*>)? (\w+) = \d+;/u.exec(line) ?? [];
    if (comment !== undefined) {
      lines.push(comment);
      continue;
    }
    if (begun !== undefined) {
      message = begun;
      comments.set(begun, lines.join(" "));
    }
    if (message !== undefined && field !== undefined)
      comments.set(`${message}.${field.replace(/_(\w)/gu, (_, letter: string) => letter.toUpperCase())}`, lines.join(" "));
    lines = [];
  }
  return comments;
}

function messagesIn(message: DescMessage): DescMessage[] {
  return [
    message,
    ...message.fields.flatMap((field) => (field.message?.typeName.startsWith("graft.") === true ? messagesIn(field.message) : [])),
  ];
}

test(`${FILE} is what the proto says (written by GRAFT_WRITE_DOCS=1 npx vitest run test/crd)`, () => {
  const comments = protoComments(readFileSync("proto/graft/v1/job.proto", "utf8"));
  const head = "# Made from proto/graft/v1/job.proto and formats/crd/rules.ts: GRAFT_WRITE_DOCS=1 npx vitest run test/crd\n";
  const crd = head + stringify(graftJobCrd(comments), { lineWidth: 0, aliasDuplicateObjects: false });
  if (process.env["GRAFT_WRITE_DOCS"] !== undefined) writeFileSync(FILE, crd);
  expect(readFileSync(FILE, "utf8")).toBe(crd);
  const described = [...messagesIn(JobSpecSchema)].flatMap(({ name, fields }) => fields.map(({ jsonName }) => `${name}.${jsonName}`));
  expect(described.filter((name) => !comments.has(name))).toEqual([]);
});

test.each(badSpecs)("$field: $spec is refused by resolveJob", ({ field, spec }) => {
  expect(() => resolveJob(spec, "job", "kubernetes")).toThrow(
    expect.objectContaining({
      code: "SPEC_INVALID",
      details: expect.objectContaining({ problems: [expect.objectContaining({ path: field })] as unknown }) as unknown,
    }) as Error,
  );
});

test("every rule speaks of fields that there are", () => {
  const messages = new Map(messagesIn(JobSpecSchema).map((message) => [message.name, message]));
  for (const [name, { required = [], fields = {}, together = [] }] of Object.entries(messageRules)) {
    const known = new Set(messages.get(name)?.fields.map(({ jsonName }) => jsonName));
    for (const field of [...required, ...Object.keys(fields)]) expect(known, `${name}.${field}`).toContain(field);
    for (const { rule } of together)
      for (const [, field = ""] of rule.matchAll(/self\.(\w+)/gu)) expect(known, `${name}: ${rule}`).toContain(field);
  }
  for (const field of mutableSpecFields) expect(JobSpecSchema.fields.map(({ jsonName }) => jsonName)).toContain(field);
});

/** As much of OpenAPI as defaults need. */
interface Schema {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

/** `value` as the API server stores it: what is left out has its default, where the schema has one. `applied` takes the paths of the defaults. */
function defaulted(value: unknown, schema: Schema, applied: Set<string>, path = "spec"): unknown {
  if (Array.isArray(value)) return value.map((item) => defaulted(item, schema.items ?? {}, applied, `${path}[]`));
  if (typeof value !== "object" || value === null) return value;
  const given = new Map(Object.entries(value));
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.default === undefined || given.has(name)) continue;
    applied.add(`${path}.${name}`);
    given.set(name, property.default);
  }
  return Object.fromEntries(
    [...given].map(([name, item]) => [name, defaulted(item, schema.properties?.[name] ?? {}, applied, `${path}.${name}`)]),
  );
}

function defaultsIn(schema: Schema, path = "spec"): string[] {
  return [
    ...(schema.default === undefined ? [] : [path]),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, property]) => defaultsIn(property, `${path}.${name}`)),
    ...(schema.items === undefined ? [] : defaultsIn(schema.items, `${path}[]`)),
  ];
}

const dataset = { source: "s3://bucket/pictures/" };
const training = (recipe: NonNullable<JobSpec["training"]>): JobSpec => ({ dataset, training: recipe });

/** Specs that leave out what they can; together they have every part in which a default stands. */
const sparseSpecs: readonly JobSpec[] = [
  { dataset },
  { dataset: { ...dataset, split: {} }, backbone: {}, preprocessing: {}, views: {}, head: {}, training: {}, extractors: {}, trainers: {} },
  { dataset, views: { count: 2, randomResizedCrop: {} } },
  { dataset, head: { layers: [{ dense: { units: 8 } }], initializer: { truncatedNormal: {} } }, trainers: { max: 3 } },
  training({ steps: 10, batchSize: 4, optimizer: { sgd: {} }, schedule: { cosine: {} }, earlyStopping: { patienceEvaluations: 3 } }),
  training({ optimizer: { rmsprop: {} }, schedule: { step: { everySteps: 10 } } }),
  training({ optimizer: { adam: {} }, schedule: { exponential: { decaySteps: 10 } } }),
  training({ optimizer: { adamw: {} }, batchNorm: "BATCH" }),
];

test("a spec with the defaults of the schema means what it meant without, and every default is such a one", () => {
  const crd = parse(readFileSync(FILE, "utf8")) as {
    spec: { versions: [{ schema: { openAPIV3Schema: { properties: { spec: Schema; status: Schema } } } }] };
  };
  const { spec: schema, status } = crd.spec.versions[0].schema.openAPIV3Schema.properties;
  const examples = readdirSync("examples")
    .filter((name) => name.endsWith(".yaml"))
    .map((name) => (parse(readFileSync(`examples/${name}`, "utf8")) as { spec: JobSpec }).spec);
  expect(examples.length).toBeGreaterThan(5);
  const applied = new Set<string>();
  for (const spec of [...sparseSpecs, ...examples]) {
    const stored = defaulted(spec, schema, applied) as JobSpec;
    expect(resolveJob(stored, "job", "kubernetes")).toEqual(resolveJob(spec, "job", "kubernetes"));
    expect(operationOf(stored)).toEqual({ ...operationOf(spec), backoffLimit: spec.backoffLimit ?? defaultBackoffLimit });
    expect(stored.suspend).toBe(spec.suspend ?? false);
    // No part of a spec comes into being by a default.
    expect(Object.keys(stored).filter((name) => !Object.hasOwn(spec, name) && typeof stored[name as keyof JobSpec] === "object")).toEqual(
      [],
    );
  }
  expect([...applied].sort()).toEqual(defaultsIn(schema).sort());
  expect(defaultsIn(status)).toEqual([]);
});
