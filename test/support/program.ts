import { spawn } from "node:child_process";
import { join } from "node:path";

export interface ProgramOutcome {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const repository = join(import.meta.dirname, "../..");

/** Runs `graft ARGS` from dist/, which `npm test` and `npm run test:all` build first; GRAFT_TEST_DIST names another build. */
export async function runGraft(args: readonly string[], cwd: string = repository): Promise<ProgramOutcome> {
  const program = join(repository, process.env["GRAFT_TEST_DIST"] ?? "dist", "cli/main.js");
  const child = spawn(process.execPath, [program, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
}

/** What it prints; throws with its messages where it fails. */
export async function graft(args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await runGraft(args);
  if (exitCode !== 0) throw new Error(`graft ${args.join(" ")} ended with ${String(exitCode)}:\n${stderr}`);
  return stdout;
}
