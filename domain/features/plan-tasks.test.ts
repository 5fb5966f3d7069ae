import assert from "node:assert/strict";
import { test } from "vitest";
import { planTasks, shardRowLimit } from "./plan-tasks.js";

test("tasks have 64 to 4,096 pictures, about 64 of them in between", () => {
  const expected: readonly (readonly [pictures: number, tasks: number, taskPictures: number])[] = [
    [0, 0, 64],
    [1, 1, 64],
    [64, 1, 64],
    [65, 2, 64],
    [1_250, 20, 64],
    [4_096, 64, 64],
    [4_097, 64, 65],
    [100_000, 64, 1_563],
    [262_144, 64, 4_096],
    [262_145, 65, 4_096],
    [10_000_000, 2_442, 4_096],
  ];
  for (const [pictures, tasks, taskPictures] of expected) assert.deepEqual(planTasks(pictures), { pictures, tasks, taskPictures });
});

test("the tasks of a listing cover every picture, none is empty", () => {
  for (let pictures = 0; pictures < 20_000; pictures += 37) {
    const { tasks, taskPictures } = planTasks(pictures);
    assert.ok(tasks * taskPictures >= pictures && (pictures === 0 || (tasks - 1) * taskPictures < pictures), `${pictures}`);
  }
});

test("a shard has at most 4,096 rows and 32 MiB, and always room for one", () => {
  assert.equal(shardRowLimit([1], 4), 4_096);
  assert.equal(shardRowLimit([1280], 4), 4_096);
  assert.equal(shardRowLimit([2048], 4), 4_096);
  assert.equal(shardRowLimit([2049], 4), 4_094);
  assert.equal(shardRowLimit([7, 7, 160], 4), 1_069);
  assert.equal(shardRowLimit([224, 224, 3], 4), 55);
  assert.equal(shardRowLimit([224, 224, 3], 1), 222);
  assert.equal(shardRowLimit([4_096, 4_096], 4), 1);
  assert.throws(() => shardRowLimit([7, 0], 4), /no elements/);
});
