import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { readConfig } from "../platform/config/config.js";
import { coordinatorConfig } from "../services/coordinator/config.js";
import { extractorConfig } from "../services/extractor/config.js";
import { trainerConfig } from "../services/trainer/config.js";

const file = "docs/operations.md";
const roles = { coordinator: coordinatorConfig, extractor: extractorConfig, trainer: trainerConfig };
const folder = mkdtempSync(join(tmpdir(), "graft-docs-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** What JSON Schema says of one field. */
interface Field {
  readonly description?: string;
  readonly default?: unknown;
  readonly secret?: true;
  readonly properties?: Readonly<Record<string, Field>>;
  readonly required?: readonly string[];
}

/** Rows of the table of one config file: every field by its path. A group has a row of its own where something is said of it. */
function rowsOf({ properties = {}, required = [] }: Field, above = ""): string[] {
  return Object.entries(properties).flatMap(([name, field]) => {
    const path = above + name;
    const value =
      field.default === undefined || field.properties !== undefined
        ? required.includes(name) && field.properties === undefined
          ? "needed"
          : ""
        : `\`${JSON.stringify(field.default)}\``;
    const text = [field.description, ...(field.secret === true ? ["Secret."] : [])].join(" ");
    const own = field.properties === undefined || field.description !== undefined ? [`| \`${path}\` | ${value} | ${text} |`] : [];
    return [...own, ...rowsOf(field, `${path}.`)];
  });
}

for (const [role, schema] of Object.entries(roles))
  describe(role, () => {
    test(`the table of its config in ${file} is that of its schema (GRAFT_WRITE_DOCS=1 writes it)`, () => {
      const rows = rowsOf(z.toJSONSchema(schema, { io: "input" }) as Field);
      const table = ["| field | default | means |", "| --- | --- | --- |", ...rows].join("\n");
      const section = new RegExp(`(?<=<!-- config of the ${role} -->\n).*?(?=\n\n)`, "s");
      if (process.env["GRAFT_WRITE_DOCS"] === "1")
        writeFileSync(
          file,
          readFileSync(file, "utf8").replace(section, () => table),
        );
      expect(section.exec(readFileSync(file, "utf8"))?.[0]).toBe(table);
      expect(rows.filter((row) => row.endsWith("|  |"))).toEqual([]);
    });

    test(`its example in ${file} is a config file`, async () => {
      const [, example] = new RegExp(`\`\`\`yaml\n(# ${role}\\.yaml\n.*?)\`\`\``, "s").exec(readFileSync(file, "utf8")) ?? [];
      if (example === undefined) throw new Error(`${file} has no example that begins with "# ${role}.yaml"`);
      const path = join(folder, `${role}.yaml`);
      writeFileSync(path, example.replace(/(env|file):[\w/-]+/g, "a-secret"));
      await expect(readConfig(path, schema)).resolves.toBeDefined();
    });
  });
