import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { systemProcesses } from "../platform/job-store/processes.js";
import { endProcesses } from "./local-cluster.js";

async function start(script: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", `${script}; process.stdout.write("ready")`], { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child;
}

test("only processes that are still those that were started are ended", async () => {
  const [mine, others] = [await start("setInterval(() => {}, 1000)"), await start("setInterval(() => {}, 1000)")];
  const ended = once(mine, "exit");
  const identity = await systemProcesses.of(mine.pid!);
  const reused = { ...(await systemProcesses.of(others.pid!)), started: "1" };
  expect(await endProcesses([reused, identity])).toBe(1);
  expect(await ended).toEqual([null, "SIGTERM"]);
  expect(others.exitCode ?? others.signalCode).toBeNull();
  process.kill(others.pid!, 0); // throws where there is none
  expect(await endProcesses([reused, identity])).toBe(0);
});

test("processes of another machine are left alone", async () => {
  const child = await start("setInterval(() => {}, 1000)");
  const elsewhere = { ...(await systemProcesses.of(child.pid!)), host: "elsewhere" };
  await expect(endProcesses([elsewhere])).rejects.toMatchObject({
    code: "USAGE_INVALID",
    message: expect.stringContaining("elsewhere") as string,
  });
  process.kill(child.pid!, 0);
});
