import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "vitest";
import { memoryObjectStore } from "../object-store/memory.js";
import type { ObjectStore } from "../object-store/object-store.js";
import { acquireJobLock } from "./lock.js";
import { processesOfMachine, type Processes } from "./processes.js";

/** Processes of a made-up machine, by pid. */
function setup() {
  const living = new Set<number>();
  const processOf = (pid: number): Processes => {
    living.add(pid);
    const of = async (some: number) => ({ host: "h", boot: "b", pid: some, started: "1" });
    return { of, self: () => of(pid), isAlive: async (identity) => living.has(identity.pid) };
  };
  return { store: memoryObjectStore(), living, processOf };
}

async function lockKeys(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list("jobs/j/lock/")) keys.push(key);
  return keys;
}

test("a living holder keeps others away until it releases", async () => {
  const { store, processOf } = setup();
  const first = await acquireJobLock(store, "j", processOf(1));
  assert.equal(first.kind, "acquired");
  assert.deepEqual(await acquireJobLock(store, "j", processOf(2)), {
    kind: "held",
    by: { host: "h", boot: "b", pid: 1, started: "1" },
    key: "jobs/j/lock/0.json",
  });
  assert.equal((await acquireJobLock(store, "other", processOf(2))).kind, "acquired");
  if (first.kind === "acquired") await first.release();
  assert.equal((await acquireJobLock(store, "j", processOf(2))).kind, "acquired");
  assert.equal((await acquireJobLock(store, "j", processOf(1))).kind, "held");
  assert.deepEqual(await lockKeys(store), ["jobs/j/lock/1.json"]);
});

test("of many that find a dead holder one takes over, again and again", async () => {
  const { store, living, processOf } = setup();
  for (let round = 0; round < 12; round++) {
    const outcomes = await Promise.all(Array.from({ length: 10 }, (_, index) => acquireJobLock(store, "j", processOf(round * 10 + index))));
    const winners = outcomes.flatMap((outcome, index) => (outcome.kind === "acquired" ? [round * 10 + index] : []));
    assert.equal(winners.length, 1, `round ${round}: ${winners.join(", ")}`);
    living.clear();
  }
  assert.equal((await lockKeys(store)).length, 1);
});

test("one that acts on an old view of the row withdraws", async () => {
  const { store, processOf } = setup();
  let held = 0;
  // Between this process' look (nobody there) and its create, others take and free the lock twice and a third one takes it.
  const slow: ObjectStore = {
    ...store,
    create: async (key, body) => {
      if (held++ === 0) {
        for (const pid of [2, 3]) {
          const lock = await acquireJobLock(store, "j", processOf(pid));
          if (lock.kind === "acquired") await lock.release();
        }
        assert.equal((await acquireJobLock(store, "j", processOf(4))).kind, "acquired");
      }
      return store.create(key, body);
    },
  };
  const late = await acquireJobLock(slow, "j", processOf(1));
  assert.equal(late.kind === "held" && late.by.pid, 4);
  assert.deepEqual(await lockKeys(store), ["jobs/j/lock/2.json"]);
});

const ways = { "/proc": processesOfMachine(), ps: processesOfMachine("/there is no such folder") };

for (const [way, processes] of Object.entries(ways))
  test(`real processes, by ${way}: this one lives, a killed one does not, its id given to another process does not count`, async () => {
    const self = await processes.self();
    assert.equal(await processes.isAlive(self), true);
    assert.equal(await processes.isAlive({ ...self, host: "elsewhere" }), true);
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    await once(child, "spawn");
    const identity = await processes.of(child.pid as number);
    assert.equal(await processes.isAlive(identity), true);
    if (self.started !== "") assert.equal(await processes.isAlive({ ...identity, started: "1" }), false);
    assert.equal(await processes.isAlive({ ...identity, boot: "an earlier one" }), false);
    child.kill("SIGKILL");
    await once(child, "exit");
    assert.equal(await processes.isAlive(identity), false);
  });
