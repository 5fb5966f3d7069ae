import assert from "node:assert/strict";
import { test } from "vitest";
import { permuteAxes, permutedShape } from "./permute-axes.js";

test("a kernel [out, in, h, w] becomes [h, w, in, out], every value in its place", () => {
  const [outputs, inputs, height, width] = [2, 3, 2, 4];
  const shape = [outputs, inputs, height, width];
  const data = Float32Array.from({ length: 48 }, (_, i) => i);
  const turned = permuteAxes({ shape, data }, [2, 3, 1, 0]);
  assert.deepEqual(turned.shape, [height, width, inputs, outputs]);
  assert.deepEqual(permutedShape(shape, [2, 3, 1, 0]), turned.shape);
  for (let h = 0; h < height; h++)
    for (let w = 0; w < width; w++)
      for (let i = 0; i < inputs; i++)
        for (let o = 0; o < outputs; o++)
          assert.equal(turned.data[((h * width + w) * inputs + i) * outputs + o], data[((o * inputs + i) * height + h) * width + w]);
  assert.deepEqual(permuteAxes(turned, [3, 2, 0, 1]), { shape, data });
});

test("a matrix is transposed, a vector is what it was", () => {
  assert.deepEqual(permuteAxes({ shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }, [1, 0]), {
    shape: [3, 2],
    data: Float32Array.of(1, 4, 2, 5, 3, 6),
  });
  assert.deepEqual(permuteAxes({ shape: [2], data: Float32Array.of(1, 2) }, [0]).data, Float32Array.of(1, 2));
});
