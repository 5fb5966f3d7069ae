import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

/** Who may import whom. The first row whose `from` matches decides; `$1` is the folder that it captured. */
const rules: readonly (readonly [from: string, ...may: string[]])[] = [
  ["domain/", "domain/", "npm:node:(assert|assert/strict|crypto)$"], // crypto for its hashes
  ["formats/", "domain/", "formats/", "proto/", "npm:"], // bytes <-> values: codecs' packages, no I/O
  [
    "platform/(grpc|kubernetes|config|service-process)/",
    "domain/",
    "formats/",
    "platform/$1/",
    "platform/(config|clock)/",
    "platform/access/access.ts",
    "proto/",
    "npm:",
  ], // no ports: what several adapters or every service's process share
  ["platform/([^/]+)/\\1.ts", "domain/", "formats/", "platform/([^/]+)/\\1.ts", "npm:node:(assert|assert/strict|crypto)$"], // a port: no SDK, no adapter
  ["platform/([^/]+)/open-[a-z]+.ts", "domain/", "formats/", "platform/", "npm:"], // chooses and puts together one port's adapters
  ["platform/([^/]+)/", "domain/", "formats/", "platform/$1/", "platform/(grpc|kubernetes)/", "platform/([^/]+)/\\1.ts", "proto/", "npm:"], // an adapter
  ["services/local/", "domain/", "formats/", "platform/", "services/", "proto/", "npm:"], // the one place that sees every service
  [
    "services/([^/]+)/(main|service|kubernetes).ts",
    "domain/",
    "formats/",
    "platform/",
    "services/$1/",
    "services/local/",
    "proto/",
    "npm:",
  ], // puts the adapters together as a run in one process does
  ["services/([^/]+)/config.ts", "domain/", "platform/config/", "npm:zod$"],
  ["services/([^/]+)/", "domain/", "formats/", "platform/([^/]+)/\\1.ts", "services/$1/", "proto/", "npm:node:assert$"],
  ["cli/", "domain/", "formats/", "platform/", "services/local/", "cli/", "proto/", "npm:"],
];

/** Static and dynamic imports of a source text. */
function importsOf(text: string): string[] {
  const statics = [...text.matchAll(/^(?:import|export) [^;]*?from "([^"]+)"/gms)];
  const dynamics = [...text.matchAll(/\bimport\("([^"]+)"\)/g)];
  return [...statics, ...dynamics].flatMap(([, specifier]) => (specifier === undefined ? [] : [specifier]));
}

function isAllowed(file: string, target: string): boolean {
  for (const [from, ...may] of rules) {
    const match = new RegExp(`^${from}`).exec(file);
    if (match) return may.some((allowed) => new RegExp(`^${allowed.replace("$1", match[1] ?? "")}`).test(target));
  }
  return false;
}

function offencesOf(file: string, text: string): string[] {
  return importsOf(text).flatMap((specifier) => {
    const target = specifier.startsWith(".") ? join(dirname(file), specifier).replace(/\.js$/, ".ts") : `npm:${specifier}`;
    return isAllowed(file, target) ? [] : [`${file} must not import ${target}`];
  });
}

test("imports point inwards only", () => {
  const sources = ["domain", "formats", "platform", "services", "cli"].flatMap((root) =>
    readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
      .map((path) => `${root}/${path}`),
  );
  expect(sources.length).toBeGreaterThan(50);
  expect(sources.flatMap((file) => offencesOf(file, readFileSync(file, "utf8")))).toEqual([]);
});

test("the rules name an offence of each kind", () => {
  const offences = [
    offencesOf("domain/job/plan.ts", 'import { readFileSync } from "node:fs";'),
    offencesOf("domain/job/plan.ts", 'const x = await import("../../platform/clock/system.js");'),
    offencesOf("platform/clock/clock.ts", 'import { x } from "../object-store/memory.js";'),
    offencesOf("platform/engine/onnx/onnx.ts", 'import { x } from "../../object-store/memory.js";'),
    offencesOf("services/trainer/train.ts", 'import { x } from "../extractor/extract.js";'),
    offencesOf("services/trainer/train.ts", 'import { x } from "../../platform/gradient-bus/memory.js";'),
    offencesOf("services/trainer/train.ts", 'import { x } from "../../platform/grpc/client.js";'),
    offencesOf("cli/main.ts", 'import { x } from "../services/trainer/train.js";'),
  ];
  expect(offences.map((list) => list.length)).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
});
