import { expect, test } from "vitest";
import type { Clock } from "../../platform/clock/clock.js";
import { LeaseTable } from "./leases.js";

function setup({ tasks = [0, 1], durationMs = 1_000 } = {}) {
  let nowMs = 0;
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs, sleep: () => Promise.resolve() };
  return { table: new LeaseTable(tasks, durationMs, clock), pass: (ms: number) => (nowMs += ms) };
}

test("each task is given out once, lowest first", () => {
  const { table } = setup();
  expect([table.claim("a")?.task, table.claim("b")?.task, table.claim("c")?.task]).toEqual([0, 1, undefined]);
});

test("an expired lease is given out again and its old holder learns that it is lost", () => {
  const { table, pass } = setup({ tasks: [7] });
  const first = table.claim("a")!;
  pass(999);
  expect(table.claim("b")).toBeUndefined();
  expect(table.nextOfferMs()).toBe(1);
  pass(1);
  expect(table.claim("b")?.task).toBe(7);
  expect(table.renew(first)).toBe("lost");
});

test("a renewed lease lives on", () => {
  const { table, pass } = setup({ tasks: [7] });
  const lease = table.claim("a")!;
  pass(900);
  expect(table.renew(lease)).toBe("kept");
  pass(900);
  expect(table.claim("b")).toBeUndefined();
});

test("a released task is next; a committed one never comes back, whoever held it", () => {
  const { table } = setup();
  const first = table.claim("a")!;
  table.release(first.lease);
  const again = table.claim("b")!;
  expect(again.task).toBe(0);
  table.commit(0);
  expect(table.renew(again)).toBe("lost");
  table.release(again.lease);
  expect(table.claim("c")?.task).toBe(1);
  expect(table.claim("c")).toBeUndefined();
});

test("the lease of a coordinator that was started anew is made again for its holder, not for a second one", () => {
  const { table } = setup({ tasks: [7] });
  const remembered = { lease: "a/4", task: 7, worker: "a" };
  expect(table.renew(remembered)).toBe("kept");
  expect(table.claim("b")).toBeUndefined();
  expect(table.renew({ lease: "b/1", task: 7, worker: "b" })).toBe("lost");
  expect(table.renew(remembered)).toBe("kept");
});

test("a straggler is offered to one idle worker, and is open again only when both have let go", () => {
  const { table, pass } = setup({ tasks: [0, 1, 2, 3], durationMs: 1_000_000 });
  const slow = table.claim("slow")!;
  for (const task of [1, 2, 3]) {
    expect(table.claim("b")?.task).toBe(task);
    pass(10);
    table.commit(task);
  }
  expect(table.claim("slow")).toBeUndefined();
  const second = table.claim("b")!;
  expect(second.task).toBe(0);
  expect(table.claim("c")).toBeUndefined();
  table.release(slow.lease);
  expect(table.claim("c")).toBeUndefined();
  table.release(second.lease);
  expect(table.claim("c")?.task).toBe(0);
});

test("who waits is told when a straggler will be offered, and never to ask at once for what he cannot have", () => {
  const { table, pass } = setup({ tasks: [0, 1, 2, 3], durationMs: 1_000_000 });
  table.claim("slow");
  for (const task of [1, 2, 3]) {
    expect(table.claim("b")?.task).toBe(task);
    pass(2_000);
    table.commit(task);
  }
  pass(-3_000);
  expect(table.nextOfferMs()).toBe(3_000);
  pass(10_000);
  expect(table.claim("slow")).toBeUndefined();
  expect(table.nextOfferMs()).toBe(1_000);
  expect(table.claim("b")?.task).toBe(0);
  expect(table.nextOfferMs()).toBe(1_000);
});
