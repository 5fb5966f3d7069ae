import { expect, test } from "vitest";
import { classBalancedOrder, shuffledOrder, stepsOf } from "./sample-order.js";

test("batches are cut from one permutation after another", () => {
  for (const [rows, batchSize] of [
    [10, 3],
    [10, 10],
    [7, 16],
    [1, 5],
    [96, 32],
  ] as const) {
    const order = shuffledOrder(1, rows, batchSize);
    const sequence = Array.from({ length: 30 }, (_, step) => [...order.batch(step)]).flat();
    expect(sequence.length).toBe(30 * batchSize);
    const epochs = new Set<string>();
    for (let from = 0; from + rows <= sequence.length; from += rows) {
      const epoch = sequence.slice(from, from + rows);
      expect([...epoch].sort((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i));
      epochs.add(epoch.join());
    }
    if (rows >= 10) expect(epochs.size).toBe(Math.floor(sequence.length / rows));
  }
});

test("a batch is a pure function of seed and step", () => {
  const forwards = shuffledOrder(5, 1_000, 96);
  const batches = Array.from({ length: 50 }, (_, step) => [...forwards.batch(step)]);
  const backwards = shuffledOrder(5, 1_000, 96);
  for (let step = 49; step >= 0; step -= 7) expect([...backwards.batch(step)]).toEqual(batches[step]);
  expect([...shuffledOrder(6, 1_000, 96).batch(0)]).not.toEqual(batches[0]);
});

test("class-balanced batches draw classes equally and rows of a class equally; classes without rows never", () => {
  const labels = Int32Array.from([0, 0, 0, 0, 0, 0, 0, 0, 3, 2]);
  const order = classBalancedOrder(1, labels, 4, 50);
  const counts = new Float64Array(10);
  for (let step = 0; step < 600; step++) for (const row of order.batch(step)) counts[row]! += 1;
  for (let row = 0; row < 10; row++) {
    const expected = row < 8 ? 10_000 / 8 : 10_000;
    expect(Math.abs(counts[row]! - expected), `row ${row}: ${counts[row]}`).toBeLessThan(5 * Math.sqrt(expected));
  }
  expect([...classBalancedOrder(1, labels, 4, 50).batch(7)]).toEqual([...order.batch(7)]);
});

test("epochs mean ceil(epochs x rows / batch size) steps", () => {
  expect(stepsOf({ epochs: 30 }, 1_000, 96)).toBe(313);
  expect(stepsOf({ epochs: 1 }, 96, 96)).toBe(1);
  expect(stepsOf({ epochs: 0.001 }, 10, 96)).toBe(1);
  expect(stepsOf({ steps: 4_000 }, 10, 96)).toBe(4_000);
});
