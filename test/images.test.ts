import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { version } from "../domain/version.js";

const roles = ["coordinator", "extractor", "trainer"];

interface Stage {
  readonly name: string;
  readonly from: string;
  readonly instructions: readonly { readonly name: string; readonly text: string }[];
}

/** The stages of a container file, lines that go on joined. */
function stagesOf(text: string): Stage[] {
  const lines = text
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter(Boolean);
  const instructions = lines.map((line) => ({ name: line.slice(0, line.indexOf(" ")), text: line.slice(line.indexOf(" ") + 1).trim() }));
  const starts = instructions.flatMap(({ name }, i) => (name === "FROM" ? [i] : []));
  return starts.map((start, i) => {
    const [, from = "", name = ""] = /^(\S+) AS (\S+)$/.exec(instructions[start]?.text ?? "") ?? [];
    return { name, from, instructions: instructions.slice(start + 1, starts[i + 1]) };
  });
}

const containerFile = readFileSync("deploy/images/Containerfile", "utf8");
const stages = stagesOf(containerFile);

/** What holds in a stage: its own instructions after those that it inherits. */
function inherited(name: string, engine: string): Stage["instructions"] {
  const stage = stages.find((each) => each.name === name.replace("${ENGINE}", engine));
  return stage === undefined ? [] : [...inherited(stage.from, engine), ...stage.instructions];
}

const engines = ["onnx", "tensorflow", "cuda"];
const images = roles.flatMap((role) => (role === "coordinator" ? [[role, "onnx"]] : engines.map((engine) => [role, engine]))) as [
  string,
  string,
][];

test.each(images)("the image of the %s with %s runs its role's program as a user without rights, from /app", (role, engine) => {
  const instructions = inherited(role, engine);
  const last = (name: string): string | undefined => instructions.findLast((instruction) => instruction.name === name)?.text;
  expect(last("USER")).toBe("10001:10001");
  expect(last("WORKDIR")).toBe("/app");
  const [command, program = "", ...rest] = JSON.parse(last("ENTRYPOINT") ?? "null") as string[];
  expect([command, program, ...rest]).toEqual(["node", `dist/services/${role}/main.js`]);
  expect(existsSync(program.replace(/^dist\/(.*)\.js$/, "$1.ts"))).toBe(true);
  expect(JSON.parse(last("CMD") ?? "null")).toEqual(["--config", `/etc/graft/${role}.yaml`]);
  const preloaded = /NODE_OPTIONS=--require=\/app\/(\S+)/.exec(instructions.map(({ text }) => text).join("\n"))?.[1] ?? "";
  expect(existsSync(preloaded)).toBe(true);
});

test("every stage stands on a base of a fixed version or on another stage, and nothing is 'latest'", () => {
  const bases = [...containerFile.matchAll(/^ARG \w+_IMAGE=(\S+)$/gm)].map(([, image]) => image);
  expect(bases).toEqual([expect.stringMatching(/^docker\.io\/library\/node:24-bookworm-slim$/)]);
  expect(engines.filter((engine) => !stages.some(({ name }) => name === engine))).toEqual([]);
  const known = ["${NODE_IMAGE}", "${ENGINE}", ...stages.map(({ name }) => name)];
  expect(stages.filter(({ name, from }) => name === "" || !known.includes(from))).toEqual([]);
  expect(containerFile).not.toContain("latest");
});

test("nothing secret is an argument, a variable or a file of an image; what npm and pip need is mounted", () => {
  const instructions = stages.flatMap((stage) => stage.instructions);
  const set = instructions.filter(({ name }) => ["ARG", "ENV", "LABEL"].includes(name)).map(({ text }) => text);
  expect(set.filter((text) => /token|password|secret|auth|registry/i.test(text))).toEqual([]);
  const downloads = instructions.filter(({ name, text }) => name === "RUN" && /npm (ci|install)|engine-tensorflow\.mjs/.test(text));
  expect(downloads).toHaveLength(4);
  for (const { text } of downloads) expect(text).toMatch(/^--mount=type=secret,id=npmrc,\S+ --mount=type=secret,id=ca,/);
});

test("only sources reach a builder: the ignore file is an allow-list, without tests", () => {
  const lines = readFileSync(".dockerignore", "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  expect(lines[0]).toBe("*");
  const allowed = lines.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  expect(allowed.filter((path) => !existsSync(path))).toEqual([]);
  expect(allowed).not.toContain("test");
  expect(lines).toContain("**/*.test.ts");
  // Every folder that the compiler takes but for tests and benchmarks.
  const { include } = JSON.parse(readFileSync("tsconfig.json", "utf8")) as { include: string[] };
  expect(include.filter((folder) => !allowed.includes(folder))).toEqual(["test", "bench"]);
});

/** A machine whose docker, podman and buildah write down what they are asked, and whose npm needs a token. */
function machine(programs: Record<string, string>): {
  readonly run: (...args: string[]) => ReturnType<typeof runImages>;
  readonly folder: string;
} {
  const folder = mkdtempSync(join(tmpdir(), "graft-images-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["docker", "podman", "buildah"]) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${programs[name] ?? `echo "${name} is not for this test" >&2; exit 1`}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  writeFileSync(join(folder, "npmrc"), "registry=https://npm.example.com/\n//npm.example.com/:_authToken=${GRAFT_TEST_TOKEN}\n");
  return { folder, run: (...args) => runImages(folder, args) };
}

function runImages(folder: string, args: string[]): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_config_/i.test(name))),
    ...{ PATH: `${folder}${delimiter}${process.env["PATH"] ?? ""}`, TMPDIR: folder, FOLDER: folder },
    ...{ NPM_CONFIG_USERCONFIG: join(folder, "npmrc"), GRAFT_TEST_TOKEN: "a-secret-token" },
  };
  return spawnSync(process.execPath, ["scripts/images.mjs", ...args], { encoding: "utf8", env });
}

/** Writes its arguments down, a line each call, and keeps what it is given as npm's settings. */
const recorder = `echo "$@" >>"$FOLDER/calls"
for argument; do case "$argument" in id=npmrc,src=*) cp "\${argument#id=npmrc,src=}" "$FOLDER/seen-npmrc";; esac; done
[ "$1 $2" != "images --json" ] || echo '[{"size": "510 MB"}]'`;

test.skipIf(process.platform === "win32")("builds each role and pushes it under its registry, and says how manifests find it", () => {
  const { folder, run } = machine({ buildah: recorder });
  const { status, stdout, stderr } = run("--push", "registry.example.com/ml", "--cuda", "--tag", "7");
  expect(status, stderr).toBe(0);
  const calls = readFileSync(join(folder, "calls"), "utf8").split("\n");
  const built = calls
    .filter((call) => call.startsWith("build "))
    .map((call) => / ENGINE=(\S+) --target (\S+) --tag (\S+)/.exec(call)?.slice(1));
  expect(built).toEqual([
    ["cuda", "coordinator", "localhost/graft-coordinator:7"],
    ["cuda", "extractor", "localhost/graft-extractor-cuda:7"],
    ["cuda", "trainer", "localhost/graft-trainer-cuda:7"],
  ]);
  expect(calls).toContain("push localhost/graft-trainer-cuda:7 docker://registry.example.com/ml/graft-trainer-cuda:7");
  expect(stdout).toContain(
    `  - name: localhost/graft-trainer-cuda\n    newName: registry.example.com/ml/graft-trainer-cuda\n    newTag: "7"\n`,
  );
  expect(stdout).toContain("localhost/graft-trainer-cuda:7  510 MB");
  // The token was there for the build, on no command line, and is gone.
  const seen = readFileSync(join(folder, "seen-npmrc"), "utf8");
  expect(seen).toContain("registry=https://npm.example.com/\n");
  expect(seen).toContain("//npm.example.com/:_authToken=a-secret-token\n");
  expect([...calls, stdout, stderr].join("\n")).not.toContain("a-secret-token");
  expect(readdirSync(folder).filter((name) => name.startsWith("graft-images-"))).toEqual([]);
});

test.skipIf(process.platform === "win32")("takes the first builder that works; without one it says what was looked for", () => {
  const works = machine({ docker: "echo no server >&2; exit 1", podman: 'echo 510000000; echo "$@" >>"$FOLDER/calls"' });
  expect(works.run("--load", "--only", "trainer").stdout).toContain(`built with podman:\n  localhost/graft-trainer:${version}  510 MB`);
  const none = machine({}).run("--load");
  expect(none.status).toBe(1);
  for (const name of ["docker", "podman", "buildah"]) expect(none.stderr).toContain(`${name}: ${name} is not for this test`);
  expect(none.stderr).toContain("apt-get install buildah");
});

test.each([
  [[], "--load, --push REGISTRY or --archive FOLDER"],
  [["--load", "--only", "worker"], "--only worker: there are coordinator, extractor, trainer"],
  [["--load", "--tag", "latest"], "--tag latest: "],
  [["--load", "--tag", "a b"], "--tag a b: letters"],
  [["--load", "--tensorflow", "--cuda"], "take one"],
  [["--load", "--tool", "kaniko"], "--tool kaniko: there are docker, podman, buildah"],
  [["--laod"], "usage: npm run images"],
])("npm run images -- %j is refused before anything is built", (args, expected) => {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/images.mjs", ...args], { encoding: "utf8" });
  expect(status).toBe(1);
  expect(stderr).toContain(expected);
});
