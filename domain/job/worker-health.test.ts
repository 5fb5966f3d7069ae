import { expect, test } from "vitest";
import { type WaitingOrRunning, workerHealth } from "./worker-health.js";

const running = (name: string, role = "trainer"): WaitingOrRunning => ({ name, role, state: { kind: "running", ready: true } });
const waiting = (name: string, role = "trainer", message = "its pod is being placed"): WaitingOrRunning => ({
  name,
  role,
  state: { kind: "waiting", code: undefined, message },
});
const stuck = (name: string, role = "trainer"): WaitingOrRunning => ({
  name,
  role,
  state: { kind: "waiting", code: "IMAGE_PULL_FAILED", message: "image x" },
});

test("nothing is said of roles that are not needed, nor of pods that run", () => {
  expect(workerHealth([], [stuck("t")], [])).toEqual({});
  expect(workerHealth(["trainer"], [running("t"), stuck("e", "extractor")], [])).toEqual({});
});

test("no pod yet, or one that is on its way: idle", () => {
  expect(workerHealth(["trainer"], [], [])).toEqual({ idle: "no trainer is there yet" });
  expect(workerHealth(["trainer"], [waiting("t")], [])).toEqual({ idle: "trainer t: its pod is being placed" });
  expect(workerHealth(["extractor", "trainer"], [waiting("e", "extractor")], [])).toEqual({
    idle: "extractor e: its pod is being placed",
  });
  expect(workerHealth(["trainer"], [running("t"), waiting("t2")], [])).toEqual({});
});

test("a pod that runs and is not ready does not count as one that works", () => {
  const notReady: WaitingOrRunning = { name: "t", role: "trainer", state: { kind: "running", ready: false } };
  expect(workerHealth(["trainer"], [notReady], [])).toEqual({
    idle: "trainer t: it runs and is not ready yet; its log says what it waits for",
  });
  expect(workerHealth(["trainer"], [notReady, running("u")], [])).toEqual({});
});

test("pods that cannot run block where none of the role runs, else they are remarked on", () => {
  expect(workerHealth(["trainer"], [stuck("t"), waiting("t2")], [])).toEqual({
    blocked: { code: "IMAGE_PULL_FAILED", message: "trainer t: image x" },
  });
  const more = (count: number) => [stuck("t"), ...Array.from({ length: count }, (_, index) => stuck(`u${String(index)}`))];
  expect(workerHealth(["trainer"], more(1), []).blocked?.message).toBe("trainer t: image x (and 1 more pod)");
  expect(workerHealth(["trainer"], more(2), []).blocked?.message).toBe("trainer t: image x (and 2 more pods)");
  expect(workerHealth(["trainer"], [running("t1"), stuck("t")], [])).toEqual({
    remark: "trainer t: image x; the others of its role go on",
  });
});

test("workers that could not be made block as well, unless some run", () => {
  const problem = { role: "trainer", message: "the quota is used up" };
  expect(workerHealth(["trainer"], [], [problem])).toEqual({ blocked: { code: "WORKERS_NOT_STARTED", message: "the quota is used up" } });
  expect(workerHealth(["trainer"], [running("t")], [problem])).toEqual({ remark: "the quota is used up" });
  expect(workerHealth(["extractor"], [running("e", "extractor")], [problem])).toEqual({});
});
