import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { pythonWith } from "./python.js";

const repository = join(import.meta.dirname, "../..");
/** As deep as examples/clients, so that `../../../proto` is the same folder from there. */
const cache = join(repository, ".cache/clients");
const proto = join(repository, "proto/graft/v1");

export const languages = ["python", "go", "java"] as const;
export type Language = (typeof languages)[number];

/** Why a client cannot be built here; undefined where it can. */
export function withoutLanguage(language: Language): string | undefined {
  if (language === "go") return versionOf("go", ["version"]) === undefined ? "needs Go 1.26 or later on PATH" : undefined;
  if (language === "java")
    return (["java", "mvn"] as const).some((name) => versionOf(name, ["-version"]) === undefined)
      ? "needs Java 17 or later and Maven on PATH"
      : undefined;
  const python = clientPython();
  return "missing" in python ? python.missing : undefined;
}

/** A Python with what the client needs, and a reflection client. */
export function clientPython(): ReturnType<typeof pythonWith> {
  const requirements = readFileSync(join(repository, "examples/clients/python/requirements.txt"), "utf8").trim().split("\n");
  return pythonWith([...requirements, "grpcio-reflection==1.85.1"]);
}

/** Builds a copy of a client, as its README says; only where its sources or the protos have changed. Throws with what the build printed. */
export function buildClient(language: Language): readonly string[] {
  const source = join(repository, "examples/clients", language);
  const target = join(cache, language);
  const generated = /\/(\.venv|graft|gen|target|__pycache__)$/;
  const isSource = (path: string): boolean => path.startsWith(join(source, "src")) || !generated.test(path);
  const digest = digestOf([source, proto], isSource);
  const stamp = join(target, ".built");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== digest) {
    rmSync(target, { recursive: true, force: true });
    mkdirSync(cache, { recursive: true });
    cpSync(source, target, { recursive: true, filter: isSource });
    for (const [command, ...args] of buildSteps(language)) run(command, args, target);
    writeFileSync(stamp, digest);
  }
  return {
    python: [pythonProgram(), join(target, "graft_client.py")],
    go: [join(target, "graft-client")],
    java: ["java", "-jar", join(target, "target/graft-client.jar")],
  }[language];
}

function buildSteps(language: Language): (readonly [command: string, ...args: string[]])[] {
  const protos = ["graft/v1/job.proto", "graft/v1/job_service.proto"];
  const outputs = ["--python_out=.", "--pyi_out=.", "--grpc_python_out=."];
  if (language === "python") return [[pythonProgram(), "-m", "grpc_tools.protoc", "-I", "../../../proto", ...outputs, ...protos]];
  if (language === "java") return [["mvn", "-q", "-B", "package"]];
  return [
    ["buf", "generate"],
    ["go", "vet", "."],
    ["go", "build", "-o", "graft-client", "."],
  ];
}

function pythonProgram(): string {
  const python = clientPython();
  if ("missing" in python) throw new Error(python.missing);
  return python.python;
}

function run(command: string, args: readonly string[], cwd: string): void {
  const path = [join(repository, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter);
  try {
    execFileSync(command, args, { cwd, env: { ...process.env, PATH: path }, encoding: "utf8", stdio: "pipe" });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout ?? ""}${stderr ?? String(error)}`, { cause: error });
  }
}

function versionOf(command: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: "pipe" });
  } catch {
    return undefined;
  }
}

function digestOf(folders: readonly string[], isSource: (path: string) => boolean): string {
  const hash = createHash("sha256");
  const add = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (!isSource(path)) continue;
      if (entry.isDirectory()) add(path);
      else hash.update(path).update(readFileSync(path));
    }
  };
  folders.forEach(add);
  return hash.digest("hex");
}

/** A client at work. */
export class ClientRun {
  readonly out: string[] = [];
  readonly errors: string[] = [];
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #watchers = new Set<() => void>();
  #hasEnded = false;

  constructor(command: readonly string[], args: readonly string[], cwd: string) {
    const [program = "", ...given] = command;
    const environment = { ...process.env, LC_ALL: "C.UTF-8", PYTHONUTF8: "1" };
    this.#child = spawn(program, [...given, ...args], { cwd, env: environment, stdio: ["ignore", "pipe", "pipe"] });
    for (const [stream, lines] of [
      [this.#child.stdout!, this.out],
      [this.#child.stderr!, this.errors],
    ] as const)
      createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        this.#changed();
      });
    this.ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject).once("close", (code) => {
        this.#hasEnded = true;
        this.#changed();
        resolve(code);
      });
    });
  }

  /** Resolves once it has printed such a line; rejects if it ends before. */
  async printed(where: "out" | "errors", pattern: RegExp): Promise<string> {
    for (;;) {
      const found = this[where].find((line) => pattern.test(line));
      if (found !== undefined) return found;
      if (this.#hasEnded) throw new Error(`it ended before it printed ${String(pattern)}:\n${[...this.out, ...this.errors].join("\n")}`);
      await new Promise<void>((resolve) => this.#watchers.add(resolve));
    }
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
    this.#watchers.clear();
  }
}
