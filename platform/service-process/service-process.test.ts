import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { z } from "zod";
import { CodedError } from "../../domain/errors.js";
import { extractorFlags } from "../../services/extractor/config.js";
import { trainerFlags } from "../../services/trainer/config.js";
import { telemetry } from "../config/config.js";
import { runService, type ServiceBody } from "./service-process.js";

const schema = z.strictObject({
  name: z.string().optional(),
  job: z.string().optional(),
  engine: z.string().default("onnx"),
  datasetCredentials: z.string().optional(),
  drainMs: z.number().default(0),
  telemetry,
});
const folder = mkdtempSync(join(tmpdir(), "graft-service-"));
const file = join(folder, "worker.yaml");
writeFileSync(file, "engine: tensorflow\ntelemetry: { level: error }\n");
afterAll(() => rmSync(folder, { recursive: true }));

const signals = ["SIGTERM", "SIGINT"] as const;
let before: ReadonlySet<unknown>;
const { argv } = process;
beforeEach(() => {
  before = new Set(signals.flatMap((signal) => process.listeners(signal)));
});
afterEach(() => {
  for (const signal of signals)
    for (const listener of process.listeners(signal)) if (!before.has(listener)) process.removeListener(signal, listener);
  process.argv = argv;
  process.exitCode = undefined;
  vi.restoreAllMocks();
});

/** Runs a service in this process; `body` gets what ends it as SIGTERM does. Returns its exit code. */
async function run(words: readonly string[], body: (config: z.output<typeof schema>, stop: () => void) => void, flags = extractorFlags) {
  process.argv = ["node", "main.js", ...words];
  const service: ServiceBody<typeof schema> = async (config, { signal }) => {
    const onSignal = process.listeners("SIGTERM").at(-1);
    body(config, () => onSignal?.("SIGTERM"));
    signal.throwIfAborted();
  };
  await runService("extractor", schema, service, flags);
  return process.exitCode;
}

test("flags override the fields of the config file that they are named after", async () => {
  const seen: unknown[] = [];
  const words = ["--config", file, "--name", "pod-1", "--job", "u", "--engine", "onnx", "--dataset-credentials", "/keys"];
  await run(words, (config) => seen.push(config));
  expect(seen).toMatchObject([{ name: "pod-1", job: "u", engine: "onnx", datasetCredentials: "/keys" }]);
  await run(["--config", file], (config) => seen.push(config));
  expect(seen[1]).toMatchObject({ engine: "tensorflow" });
  expect(extractorFlags).toEqual([...trainerFlags, "datasetCredentials"]);
});

test.each([[["--job", "u"]], [["--config", file, "--threads", "2"]], [["--config", file, "--job"]], [[]]])(
  "%j: how it is used",
  async (words) => {
    const said = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const body = vi.fn();
    expect(await run(words, body)).toBe(2);
    expect(body).not.toHaveBeenCalled();
    expect(String(said.mock.calls[0]?.[0])).toContain("usage: graft-extractor --config FILE [--name VALUE] [--job VALUE]");
  },
);

test("exit code: 0 where the job has ended; 130 where a worker of one job was stopped, 0 where one of all was", async () => {
  const stopped = (_: unknown, stop: () => void): void => stop();
  expect(await run(["--config", file, "--job", "u"], () => undefined)).toBeUndefined();
  expect(await run(["--config", file, "--job", "u"], stopped)).toBe(130);
  process.exitCode = undefined;
  expect(await run(["--config", file], stopped)).toBe(0);
});

test("exit code of a failure: that of its code", async () => {
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const failing = (): void => {
    throw new CodedError("STORE_FULL", "full");
  };
  expect(await run(["--config", file, "--job", "u"], failing)).toBe(7);
});
