import { expect, test } from "vitest";
import { listEngines, openEngine } from "./engines.js";
import { cpuFlags, instructionSetOf } from "./instruction-set.js";

test("every engine is listed, with its version or with the reason and a remedy", async () => {
  const [onnx, tensorflow] = await listEngines();
  expect(onnx).toMatchObject({ name: "onnx", available: true });
  expect(onnx?.detail).toMatch(/^onnxruntime-node \d+\.\d+\.\d+, \w+, providers: .*cpu/);
  expect(tensorflow).toMatchObject({ name: "tensorflow" });
  if (tensorflow?.available) expect(tensorflow.detail).toMatch(/^tfjs-node \d+\.\d+\.\d+, TensorFlow \d+\.\d+\.\d+, \w+, device: .+/);
  else expect(tensorflow?.remedy).toContain("npm run engine:tensorflow");
});

test("an engine that cannot be opened says what to do", async () => {
  await expect(openEngine("torch")).rejects.toMatchObject({
    code: "ENGINE_UNAVAILABLE",
    message: expect.stringContaining("onnx and tensorflow") as string,
  });
});

test("the profile says what bits depend on", async () => {
  const engine = await openEngine("onnx", { threads: 1 });
  expect(engine.forwardProfile).toMatchObject({ engine: "onnx", device: "cpu", threads: 0, batch: 0, decoder: "" });
  const gradientVersion = expect.stringMatching(/^\d+\.\d+\.\d+\+(blocked-(8|16)|portable)$/) as string;
  expect(engine.gradientProfile).toEqual({ ...engine.forwardProfile, engineVersion: gradientVersion, threads: 1 });
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
