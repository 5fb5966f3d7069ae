import { expect, test } from "vitest";
import { resolveJob } from "../../domain/job/resolve.js";
import { limits } from "../../domain/limits.js";
import { rememberedEngines } from "./remembered-engines.js";

const jobOn = (backbone: string, source = "pictures") =>
  resolveJob({ dataset: { source }, backbone: { name: backbone } }, "job", "process");

test("asks once for jobs on the same network, again after a while and after a refusal", async () => {
  let nowMs = 0;
  const asked: string[] = [];
  let refusal: Error | undefined;
  const enginesOf = rememberedEngines(
    async ({ backbone }) => {
      asked.push(backbone.name);
      if (refusal !== undefined) throw refusal;
      return { extraction: "onnx", training: backbone.name };
    },
    { monotonic: () => nowMs },
  );
  const answers = await Promise.all([enginesOf(jobOn("a", "one")), enginesOf(jobOn("a", "two")), enginesOf(jobOn("b"))]);
  expect(answers.map(({ training }) => training)).toEqual(["a", "a", "b"]);
  expect(asked).toEqual(["a", "b"]);

  nowMs = limits.enginesRememberedMs;
  await enginesOf(jobOn("a"));
  expect(asked).toEqual(["a", "b", "a"]);

  refusal = new Error("no such backbone");
  await expect(enginesOf(jobOn("c"))).rejects.toThrow("no such backbone");
  refusal = undefined;
  expect(await enginesOf(jobOn("c"))).toMatchObject({ training: "c" });
});
