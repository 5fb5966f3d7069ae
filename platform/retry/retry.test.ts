import { expect, test } from "vitest";
import { CodedError, type ErrorCode } from "../../domain/errors.js";
import { virtualClock } from "../../test/support/virtual-clock.js";
import { retry } from "./retry.js";

/** An operation that fails `failures` times with `code`, and a clock that only sleeping moves. */
function setup({ failures = 0, code = "STORE_UNAVAILABLE", random = 1 }: { failures?: number; code?: ErrorCode; random?: number } = {}) {
  let calls = 0;
  const sleeps: number[] = [];
  const clock = virtualClock((durationMs) => void sleeps.push(durationMs));
  const operation = async (): Promise<string> => {
    calls++;
    if (calls <= failures) throw new CodedError(code, `failure ${calls}`);
    return "done";
  };
  return { operation, sleeps, deps: { clock, random: () => random }, calls: () => calls };
}

const policy = { attemptsMax: 4, firstDelayMs: 100, totalMsMax: 10_000 };

test("what fails in passing is done in the end, after waits that double", async () => {
  const { operation, deps, calls, sleeps } = setup({ failures: 3 });
  expect(await retry(policy, operation, deps)).toBe("done");
  expect(calls()).toBe(4);
  expect(sleeps).toEqual([100, 200, 400]);
});

test("jitter takes up to half of a wait away", async () => {
  const { operation, deps, sleeps } = setup({ failures: 3, random: 0 });
  await retry(policy, operation, deps);
  expect(sleeps).toEqual([50, 100, 200]);
});

test("a long wait for something has steps of at most so long", async () => {
  const { operation, deps, sleeps } = setup({ failures: 5 });
  expect(await retry({ ...policy, attemptsMax: Infinity, delayMsMax: 250 }, operation, deps)).toBe("done");
  expect(sleeps).toEqual([100, 200, 250, 250, 250]);
});

test("the attempts are bounded, and the last failure is thrown", async () => {
  const { operation, deps, calls } = setup({ failures: 100 });
  await expect(retry(policy, operation, deps)).rejects.toThrow("failure 4");
  expect(calls()).toBe(4);
});

test("the time is bounded", async () => {
  const { operation, deps, calls } = setup({ failures: 100 });
  await expect(retry({ ...policy, attemptsMax: 100, totalMsMax: 350 }, operation, deps)).rejects.toThrow("failure 3");
  expect(calls()).toBe(3);
});

test("what fails for good is tried once", async () => {
  const { operation, deps, calls } = setup({ failures: 1, code: "STORE_FULL" });
  await expect(retry(policy, operation, deps)).rejects.toThrow("failure 1");
  expect(calls()).toBe(1);
  const bug = async (): Promise<void> => {
    throw new TypeError("a bug");
  };
  await expect(retry(policy, bug, deps)).rejects.toThrow("a bug");
});

test("a signal ends the waiting", async () => {
  const { operation, deps, calls } = setup({ failures: 100 });
  await expect(retry(policy, operation, { ...deps, signal: AbortSignal.abort(new Error("stopped")) })).rejects.toThrow("stopped");
  expect(calls()).toBe(1);
});
