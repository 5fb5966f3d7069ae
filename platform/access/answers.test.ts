import { expect, test } from "vitest";
import { deferred } from "../../test/support/deferred.js";
import { ManualClock } from "../../test/support/virtual-clock.js";
import { type Answer, Answers } from "./answers.js";

function setup(entriesMax = 10) {
  const clock = new ManualClock();
  const answers = new Answers<string>(clock, entriesMax);
  const asked: string[] = [];
  const get = (key: string, answer: Answer<string> | Promise<Answer<string>> = { value: key, keepMs: 1_000 }): Promise<string> =>
    answers.get(key, async () => {
      asked.push(key);
      return answer;
    });
  return { clock, answers, asked, get };
}

test("an answer is given again until its time is over", async () => {
  const { clock, asked, get } = setup();
  expect(await get("a")).toBe("a");
  clock.pass(999);
  expect(await get("a")).toBe("a");
  expect(asked).toEqual(["a"]);
  clock.pass(1);
  expect(await get("a")).toBe("a");
  expect(asked).toEqual(["a", "a"]);
  expect(await get("b", { value: "b", keepMs: 0 })).toBe("b");
  await get("b");
  expect(asked).toEqual(["a", "a", "b", "b"]);
});

test("those who ask the same at the same time share one question, its failure too; the next one asks again", async () => {
  const { asked, get } = setup();
  const answer = deferred<Answer<string>>();
  const both = [get("a", answer.promise), get("a", answer.promise)];
  answer.resolve({ value: "yes", keepMs: 1_000 });
  expect(await Promise.all(both)).toEqual(["yes", "yes"]);
  expect(asked).toEqual(["a"]);
  const end = deferred();
  const away = end.promise.then((): Answer<string> => {
    throw new Error("away");
  });
  const failing = Promise.allSettled([get("b", away), get("b", away)]);
  end.resolve();
  expect((await failing).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await get("b")).toBe("b");
  expect(asked).toEqual(["a", "b", "b"]);
});

test("no more than so many are remembered; those that were used last stay", async () => {
  const { answers, asked, get } = setup(3);
  for (const key of ["a", "b", "c", "a", "d"]) await get(key);
  expect(answers.size).toBe(3);
  expect(asked).toEqual(["a", "b", "c", "d"]);
  await get("a");
  expect(asked).toHaveLength(4);
  await get("b");
  expect(asked).toEqual(["a", "b", "c", "d", "b"]);
});
