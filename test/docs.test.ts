import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";
import { errorCodes } from "../domain/errors.js";

/** Folders of the repository that hold its own files; what is generated, copied in or data is left out. */
const roots = ["proto/graft", "domain", "formats", "platform", "services", "cli", "docs", "examples", "scripts", "bench", "test", ".ci"];

/** What stands in the folder of a client after somebody has followed the README there. */
const built = /^examples\/clients\/\w+\/(\.venv|__pycache__|gen|graft|target)(\/|$)/;

function foldersBelow(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true });
  const below = entries
    .filter((entry) => entry.isDirectory() && entry.name !== "testdata")
    .flatMap(({ name }) => foldersBelow(join(folder, name)));
  return entries.some((entry) => entry.isFile()) ? [folder, ...below] : below;
}

const documents = [
  ...["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"],
  ...["docs", "bench", "examples/clients"].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(folder, name))
      .filter((path) => !built.test(path)),
  ),
];

/** Text outside of blocks of code. */
function prose(document: string): string {
  return readFileSync(document, "utf8").replace(/^```.*?^```/gms, "");
}

test("ARCHITECTURE.md names every folder, and every folder that it names exists", () => {
  const named = [...readFileSync("ARCHITECTURE.md", "utf8").matchAll(/^\| `([^`]+)\/` \|/gm)].map(([, folder = ""]) => folder);
  expect(named.filter((folder) => !existsSync(folder))).toEqual([]);
  const there = roots.flatMap(foldersBelow).filter((folder) => !built.test(folder));
  expect(there.filter((folder) => !named.includes(folder))).toEqual([]);
  expect(named.length).toBe(new Set(named).size);
});

test("docs/errors.md has every error code with its exit code and whether it passes, and a remedy", () => {
  const rows = [...readFileSync("docs/errors.md", "utf8").matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (yes|no) \| (.+?) \| (.+?) \|$/gm)];
  const written = rows.map(([, code, exitCode, passes]) => `${code} ${exitCode} ${passes}`);
  const expected = Object.entries(errorCodes).map(([code, { exitCode, retryable }]) => `${code} ${exitCode} ${retryable ? "yes" : "no"}`);
  expect(written.sort()).toEqual(expected.sort());
  for (const [, code, , , , remedy = ""] of rows) expect(remedy.length, `remedy of ${code}`).toBeGreaterThan(10);
});

test("docs/user-guide.md and README.md show every command", () => {
  const commands = ["cli/local-commands.ts", "cli/server-commands.ts"].flatMap((file) => commandsOf(readFileSync(file, "utf8")));
  expect(commands).toEqual(expect.arrayContaining(["train", "predict", "backbone add", "doctor", "submit"]));
  for (const document of ["docs/user-guide.md", "README.md"]) {
    const text = readFileSync(document, "utf8");
    expect(
      commands.filter((command) => !text.includes(`graft ${command}`)),
      document,
    ).toEqual([]);
  }
});

/** Commands that do something, by their whole name. Groups (`backbone`) only hold others. */
function commandsOf(source: string): string[] {
  const groups = new Map(
    [...source.matchAll(/const (\w+) = program\s*\.command\("([\w-]+)"\)/g)].map(([, variable = "", name = ""]) => [variable, name]),
  );
  return [...source.matchAll(/(\w+)\s*\.command\("([\w-]+)"\)/g)].flatMap(([, parent = "", name = ""]) => {
    if (parent === "program") return [...groups.values()].includes(name) ? [] : [name];
    const group = groups.get(parent);
    if (group === undefined) throw new Error(`cli: ${parent}.command("${name}"): a command of the program or of a group was expected`);
    return [`${group} ${name}`];
  });
}

test("links between documents lead to files and headings that exist", () => {
  const broken = documents.flatMap((document) =>
    [...prose(document).matchAll(/\]\(([^)\s]+)\)|<img [^>]*src="([^"]+)"/g)].flatMap(([, inText, image]) => {
      const target = inText ?? image ?? "";
      if (/^[a-z]+:/.test(target)) return [];
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? document : normalize(join(dirname(document), path));
      const isThere = existsSync(file) && (anchor === undefined || anchorsOf(file).includes(anchor));
      return isThere ? [] : [`${document}: ${target}`];
    }),
  );
  expect(broken).toEqual([]);
});

/** As GitHub makes them. */
function anchorsOf(file: string): string[] {
  return [...prose(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test("files and folders that documents name exist", () => {
  const missing = documents
    .filter((document) => document !== "CHANGELOG.md")
    .flatMap((document) =>
      [
        ...prose(document).matchAll(
          /`((?:domain|formats|platform|services|cli|proto|test|scripts|docs|examples|samples|bench)\/[\w./-]*)`/g,
        ),
      ].flatMap(([, path = ""]) => (existsSync(path) || existsSync(`${path}.ts`) ? [] : [`${document}: ${path}`])),
    );
  expect(missing).toEqual([]);
});

test("programs that documents tell to run with npm are in package.json", () => {
  const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
  const named = documents.flatMap((document) =>
    [...readFileSync(document, "utf8").matchAll(/npm run ([\w:]+)/g)].map(([, name = ""]) => name),
  );
  expect([...new Set(named)].filter((name) => scripts[name] === undefined)).toEqual([]);
  for (const command of Object.values(scripts)) {
    for (const [path] of command.matchAll(/(?<![\w/])(?:scripts|bench)\/[\w./-]+/g)) expect(existsSync(path), path).toBe(true);
  }
});

test("tests that documents tell to run exist", () => {
  const files = roots
    .flatMap((root) => readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => join(root, name)))
    .filter((name) => name.endsWith(".test.ts"));
  const commands = documents.flatMap((document) => [
    ...readFileSync(document, "utf8").matchAll(/npx vitest run (--config vitest\.all\.config\.ts )?([\w/. -]+)/g),
  ]);
  expect(commands.length).toBeGreaterThan(5);
  const empty = commands.flatMap(([, all, filters = ""]) =>
    filters
      .trim()
      .split(" ")
      .filter((filter) => !files.some((file) => file.includes(filter) && file.endsWith(".all.test.ts") === (all !== undefined))),
  );
  expect(empty).toEqual([]);
});
