import { readFileSync, writeFileSync } from "node:fs";
import type { DescMessage } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { stringify } from "yaml";
import { resolveJob } from "../domain/job/resolve.js";
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
  return [message, ...message.fields.flatMap((field) => (field.message?.typeName.startsWith("graft.") === true ? messagesIn(field.message) : []))];
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
