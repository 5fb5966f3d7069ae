import { expect, test } from "vitest";
import { listEngines, openEngine } from "./engines.js";
import { cpuFlags, instructionSetOf } from "./instruction-set.js";

test("every engine is listed, with its version or with the reason and a remedy", async () => {
  const engines = await listEngines();
  expect(engines.map(({ name, available }) => [name, available])).toEqual([
    ["onnx", true],
    ["tensorflow", false],
  ]);
  expect(engines[0]?.detail).toMatch(/^onnxruntime-node \d+\.\d+\.\d+, \w+, providers: .*cpu/);
  expect(engines[1]?.detail).not.toBe("");
  expect(engines[1]?.remedy).not.toBe("");
});

test("an engine that cannot be opened says what to do", async () => {
  await expect(openEngine("tensorflow")).rejects.toMatchObject({
    code: "ENGINE_UNAVAILABLE",
    message: expect.stringContaining("use the onnx engine") as string,
  });
  await expect(openEngine("torch")).rejects.toMatchObject({
    code: "ENGINE_UNAVAILABLE",
    message: expect.stringContaining("onnx and tensorflow") as string,
  });
});

test("the profile says what bits depend on", async () => {
  const engine = await openEngine("onnx", { threads: 1 });
  expect(engine.forwardProfile).toMatchObject({ engine: "onnx", device: "cpu", threads: 0, batch: 0, decoder: "" });
  expect(engine.gradientProfile).toEqual({ ...engine.forwardProfile, threads: 1 });
  expect(engine.forwardProfile.engineVersion).toMatch(/^\d+\.\d+\.\d+$/);
});

test.each([
  ["flags\t\t: fpu sse2 avx avx2 fma avx512f avx512dq avx512bw avx512vl\n", "avx512"],
  ["processor : 0\nflags : fpu avx avx2 fma avx512f\nflags : other\n", "avx2"],
  ["flags : fpu avx avx2\n", "avx"],
  ["no such line", "x64"],
])("instruction set of %j is %s", (cpuinfo, expected) => {
  expect(instructionSetOf(cpuFlags(cpuinfo))).toBe(expected);
});
