import { expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { stoppingStart } from "../../domain/training/early-stopping.js";
import type { ParameterLayout } from "../../domain/training/parameters.js";
import { encodeSafetensors, decodeSafetensors } from "../safetensors/safetensors.js";
import { decodeCheckpoint, encodeCheckpoint, type Checkpoint } from "./checkpoint.js";

const layout: ParameterLayout = {
  entries: [
    { name: "head/output/bias", shape: [3], offset: 0, length: 3 },
    { name: "head/output/kernel", shape: [2, 3], offset: 3, length: 6 },
  ],
  length: 9,
};
const statisticsLayout: ParameterLayout = { entries: [{ name: "norm/moving_mean", shape: [2], offset: 0, length: 2 }], length: 2 };
const layouts = { layout, statisticsLayout };
const checkpoint: Checkpoint = {
  jobId: "job-1",
  step: 120,
  parameters: Float32Array.from({ length: 9 }, (_, i) => i / 7),
  slots: new Map([
    ["firstMoment", Float32Array.from({ length: 9 }, (_, i) => -i / 3)],
    ["secondMoment", Float32Array.from({ length: 9 }, (_, i) => i / 11)],
  ]),
  statistics: new Map([["moving", Float32Array.of(0.5, -2)]]),
  stopping: { ...stoppingStart, evaluations: 2, best: { step: 60, accuracy: 0.75 } },
  since: { loss: 1.5, correct: 3, rows: 4 },
  history: [{ step: 60, loss: 0.5 }],
};
const expected = { jobId: "job-1", layouts, slots: ["firstMoment", "secondMoment"], statistics: ["moving"] };

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof CodedError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "none";
}

test("a checkpoint is read as it was written, and written the same twice", () => {
  const bytes = encodeCheckpoint(checkpoint, layouts);
  expect(decodeCheckpoint(bytes, expected)).toEqual(checkpoint);
  expect(encodeCheckpoint(checkpoint, layouts)).toEqual(bytes);
});

test("optimisers without slots", () => {
  const plain = { ...checkpoint, slots: new Map() };
  expect(decodeCheckpoint(encodeCheckpoint(plain, layouts), { ...expected, slots: [] })).toEqual(plain);
});

test("every flipped byte and every cut end is noticed", () => {
  const bytes = encodeCheckpoint(checkpoint, layouts);
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at] = (flipped[at] as number) ^ 1;
    expect(
      codeOf(() => decodeCheckpoint(flipped, expected)),
      `byte ${at} of ${bytes.length}`,
    ).toMatch(/^(OBJECT_CORRUPT|STORE_FORMAT_NEWER)/u);
    expect(
      codeOf(() => decodeCheckpoint(bytes.subarray(0, at), expected)),
      `${at} bytes`,
    ).toMatch(/^OBJECT_CORRUPT/u);
  }
});

test("another job, a missing, surplus or misshaped tensor and a newer format are named", () => {
  const bytes = encodeCheckpoint(checkpoint, layouts);
  const { tensors, metadata } = decodeSafetensors(bytes);
  const changed = (change: (copy: Map<string, { shape: readonly number[]; data: Float32Array }>) => void): (() => unknown) => {
    const copy = new Map(tensors);
    change(copy);
    return () => decodeCheckpoint(encodeSafetensors(copy, metadata), expected);
  };
  expect(codeOf(() => decodeCheckpoint(bytes, { ...expected, jobId: "job-2" }))).toMatch(/OBJECT_CORRUPT: .*job job-1, not to job-2/u);
  expect(codeOf(changed((copy) => copy.delete("slots/firstMoment/head/output/bias")))).toMatch(
    /"slots\/firstMoment\/head\/output\/bias" is missing/u,
  );
  expect(codeOf(changed((copy) => copy.set("parameters/x", { shape: [1], data: new Float32Array(1) })))).toMatch(
    /"parameters\/x" belongs to no part/u,
  );
  expect(codeOf(changed((copy) => copy.set("parameters/head/output/kernel", { shape: [3, 2], data: new Float32Array(6) })))).toMatch(
    /shape \[3, 2\], expected \[2, 3\]/u,
  );
  const newer = new Map([["graft.checkpoint", (metadata.get("graft.checkpoint") ?? "").replace('"formatVersion":2', '"formatVersion":3')]]);
  expect(codeOf(() => decodeCheckpoint(encodeSafetensors(tensors, newer), expected))).toMatch(/^STORE_FORMAT_NEWER/u);
});
