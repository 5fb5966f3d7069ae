import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";

const script = "scripts/engine-tensorflow.mjs";
const folder = mkdtempSync(join(tmpdir(), "graft-engine-"));
afterAll(() => rmSync(folder, { recursive: true }));

function putTogether(into: string, path = process.env["PATH"]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, "--into", into], {
    encoding: "utf8",
    env: { ...process.env, PATH: path },
  });
  return { status, output: stdout + stderr };
}

describe("npm run engine:tensorflow", () => {
  test("killed on the way it leaves no engine; the next run starts clean, and the one after that has nothing to do", async ({ skip }) => {
    const into = join(folder, "killed");
    const first = spawn(process.execPath, [script, "--into", into], { detached: true, stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    first.stderr.on("data", (bytes: Buffer) => (complaint += bytes.toString()));
    const ended = new Promise<number | null>((resolve) => first.once("exit", resolve));
    const started = (): boolean => existsSync(into) && readdirSync(into).some((name) => existsSync(join(into, name, "node_modules")));
    while (first.exitCode === null && !started()) await sleep(20);
    if (first.exitCode === 3) return skip(complaint.trim());
    expect(first.exitCode, complaint).toBe(null);
    process.kill(-first.pid!, "SIGKILL"); // the whole group, as Ctrl-C does
    await ended;
    expect(readdirSync(into)).toEqual([`cpu.building-${first.pid}`]);

    const second = putTogether(into);
    expect(second, second.output).toMatchObject({ status: 0 });
    expect(second.output).toContain("ready in");
    expect(readdirSync(into)).toEqual(["cpu"]);
    const stamp = join(into, "cpu/built.json");
    const { recipe } = JSON.parse(readFileSync(stamp, "utf8")) as { recipe: { wheels: Record<string, string> } };
    expect(Object.entries(recipe.wheels)).toEqual([["tensorflow-cpu 2.21.0", expect.stringMatching(/^sha256:[0-9a-f]{64}$/)]]);

    const { ino, mtimeMs } = statSync(stamp);
    const third = putTogether(into, ""); // which therefore needs no tool either
    expect(third).toMatchObject({ status: 0, output: expect.stringContaining("already there") as string });
    expect(statSync(stamp)).toMatchObject({ ino, mtimeMs });
  });

  test.runIf(process.platform === "linux" && process.arch === "x64")("what is missing is named, with a remedy", ({ skip }) => {
    const tools = mkdtempSync(join(folder, "tools-"));
    expect(putTogether(join(folder, "none"), tools)).toMatchObject({
      status: 3,
      output: expect.stringMatching(/python3 with pip was not found; install both/) as string,
    });
    const { status, stdout: python } = spawnSync("python3", ["-c", "import sys; print(sys.executable, end='')"], { encoding: "utf8" });
    if (status !== 0) return skip("no Python 3 on this machine");
    symlinkSync(python, join(tools, "python3"));
    expect(putTogether(join(folder, "none"), tools)).toMatchObject({
      status: 3,
      output: expect.stringMatching(/g\+\+ was not found; install it/) as string,
    });
    expect(existsSync(join(folder, "none"))).toBe(false);
  });
});
