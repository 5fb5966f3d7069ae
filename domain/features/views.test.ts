import assert from "node:assert/strict";
import { describe, test } from "vitest";
import { sha256Hex } from "./sha256.js";
import { type Augmentation, drawView, type ViewDraw } from "./views.js";

const noFlips = { horizontalFlip: false, verticalFlip: false };
const square = { width: 300, height: 300 };
const ids = Array.from({ length: 2_000 }, (_, index) => sha256Hex(`picture ${index}`));

/** View 1 of 2,000 pictures, then views 1 to 2,000 of one: both must look random. */
function draws(kinds: Partial<Augmentation>, picture = square): ViewDraw[] {
  const augmentation = { ...noFlips, ...kinds };
  return [
    ...ids.map((id) => drawView(augmentation, id, 1, picture)),
    ...ids.map((_, index) => drawView(augmentation, ids[0] ?? "", index + 1, picture)),
  ];
}

/** Both halves of `values` fill [min, max) evenly: each tenth has a tenth of them. With 2,000 draws a tenth deviates by 13.4; 60 is four and a half times that. */
function assertUniform(values: readonly number[], min: number, max: number, name: string): void {
  for (const half of [values.slice(0, ids.length), values.slice(ids.length)]) {
    const tenths = Array.from({ length: 10 }, () => 0);
    for (const value of half) {
      assert.ok(value >= min && value <= max, `${name} ${value} is not in [${min}, ${max}]`);
      tenths[Math.min(9, Math.floor(((value - min) / (max - min)) * 10))]! += 1;
    }
    for (const count of tenths) assert.ok(Math.abs(count - 200) <= 60, `${name} is not uniform: ${tenths.join(", ")}`);
  }
}

describe("random resized crop", () => {
  const usual = { minScale: 0.08, maxScale: 1, minAspect: 3 / 4, maxAspect: 4 / 3 };

  test.each([square, { width: 500, height: 200 }, { width: 90, height: 400 }])(
    "lies in the picture, with area and aspect in range: %j",
    (picture) => {
      for (const { window } of draws({ randomResizedCrop: usual }, picture)) {
        assert.ok(window !== undefined);
        assert.ok(
          window.left >= 0 && window.top >= 0 && window.left + window.width <= 1 + 1e-12 && window.top + window.height <= 1 + 1e-12,
        );
        const area = window.width * window.height;
        const aspect = (window.width * picture.width) / (window.height * picture.height);
        assert.ok(area > 0.08 - 1e-9 && area <= 1 && aspect > 0.75 - 1e-9 && aspect < 4 / 3 + 1e-9, JSON.stringify({ area, aspect }));
      }
    },
  );

  test("area, logarithm of the aspect and place are uniform where everything fits", () => {
    const windows = draws({ randomResizedCrop: { ...usual, maxScale: 0.5 } }).map(({ window }) => window!);
    assertUniform(
      windows.map(({ width, height }) => width * height),
      0.08,
      0.5,
      "area",
    );
    assertUniform(
      windows.map(({ width, height }) => Math.log(width / height)),
      Math.log(3 / 4),
      Math.log(4 / 3),
      "aspect",
    );
    assertUniform(
      windows.map(({ left, width }) => left / (1 - width)),
      0,
      1,
      "left",
    );
    assertUniform(
      windows.map(({ top, height }) => top / (1 - height)),
      0,
      1,
      "top",
    );
  });

  test("the whole picture, where only that is allowed", () => {
    const whole = { minScale: 1, maxScale: 1, minAspect: 1.25, maxAspect: 1.25 };
    const { window } = drawView({ ...noFlips, randomResizedCrop: whole }, ids[0]!, 1, { width: 500, height: 400 });
    for (const [value, expected] of [
      [window!.left, 0],
      [window!.top, 0],
      [window!.width, 1],
      [window!.height, 1],
    ] as const)
      assert.ok(Math.abs(value - expected) < 1e-12);
  });

  test.each([
    [
      { width: 400, height: 200 },
      { left: 1 / 6, top: 0, width: 2 / 3, height: 1 },
    ],
    [
      { width: 100, height: 400 },
      { left: 0, top: 1 / 3, width: 1, height: 1 / 3 },
    ],
    [
      { width: 400, height: 399 },
      { left: 0, top: 0, width: 1, height: 1 },
    ],
  ])("what never fits becomes the largest part in the middle: %j", (picture, expected) => {
    const { window } = drawView({ ...noFlips, randomResizedCrop: { ...usual, minScale: 1 } }, ids[0]!, 1, picture);
    for (const side of ["left", "top", "width", "height"] as const) assert.ok(Math.abs(window![side] - expected[side]) < 1e-12, side);
  });
});

test("random crop: enlarged by the margin and up to the scale, then anywhere", () => {
  const windows = draws({ randomCrop: { marginPercent: 10, scalePercent: 20 } }).map(({ window }) => window!);
  assertUniform(
    windows.map(({ width }) => 1 / width),
    1.1,
    1.1 * 1.2,
    "enlargement",
  );
  assertUniform(
    windows.map(({ left, width }) => left / (1 - width)),
    0,
    1,
    "left",
  );
  assertUniform(
    windows.map(({ top, height }) => top / (1 - height)),
    0,
    1,
    "top",
  );
  for (const { width, height } of windows) assert.equal(width, height);
});

test("rotation, shift and zoom fill their ranges", () => {
  const movements = draws({ rotation: { maxDegrees: 40 }, shift: { maxWidth: 0.2, maxHeight: 0.1 }, zoom: { min: 0.8, max: 1.3 } }).map(
    ({ movement }) => movement!,
  );
  assertUniform(
    movements.map(({ degrees }) => degrees),
    -40,
    40,
    "degrees",
  );
  assertUniform(
    movements.map(({ shift }) => shift.x),
    -0.2,
    0.2,
    "shift to the right",
  );
  assertUniform(
    movements.map(({ shift }) => shift.y),
    -0.1,
    0.1,
    "shift downwards",
  );
  assertUniform(
    movements.map(({ zoom }) => zoom.x),
    0.8,
    1.3,
    "zoom of the width",
  );
  assertUniform(
    movements.map(({ zoom }) => zoom.y),
    0.8,
    1.3,
    "zoom of the height",
  );
});

test("colour factors fill their ranges", () => {
  const colors = draws({ color: { brightness: 0.4, contrast: 0.2, saturation: 1 } }).map(({ color }) => color!);
  assertUniform(
    colors.map(({ brightness }) => brightness),
    0.6,
    1.4,
    "brightness",
  );
  assertUniform(
    colors.map(({ contrast }) => contrast),
    0.8,
    1.2,
    "contrast",
  );
  assertUniform(
    colors.map(({ saturation }) => saturation),
    0,
    2,
    "saturation",
  );
});

test("half of the views are flipped each way, a quarter both ways", () => {
  const flips = draws({ horizontalFlip: true, verticalFlip: true });
  for (const half of [flips.slice(0, ids.length), flips.slice(ids.length)]) {
    const share = (holds: (draw: ViewDraw) => boolean): number => half.filter(holds).length / half.length;
    assert.ok(Math.abs(share((draw) => draw.flippedHorizontally) - 0.5) < 0.05);
    assert.ok(Math.abs(share((draw) => draw.flippedVertically) - 0.5) < 0.05);
    assert.ok(Math.abs(share((draw) => draw.flippedHorizontally && draw.flippedVertically) - 0.25) < 0.05);
  }
});

const everything: Augmentation = {
  randomResizedCrop: { minScale: 0.08, maxScale: 1, minAspect: 0.75, maxAspect: 1.3333 },
  horizontalFlip: true,
  verticalFlip: true,
  rotation: { maxDegrees: 30 },
  shift: { maxWidth: 0.1, maxHeight: 0.1 },
  zoom: { min: 0.9, max: 1.1 },
  color: { brightness: 0.1, contrast: 0.1, saturation: 0.1 },
};

test("a kind draws the same with and without others beside it", () => {
  for (const id of ids.slice(0, 50)) {
    const whole = drawView(everything, id, 3, square);
    const { randomResizedCrop, rotation, shift, zoom, color } = everything;
    const alone = (kinds: Partial<Augmentation>): ViewDraw => drawView({ ...noFlips, ...kinds }, id, 3, square);
    assert.deepEqual(alone({ randomResizedCrop }).window, whole.window);
    assert.equal(alone({ rotation }).movement?.degrees, whole.movement?.degrees);
    assert.deepEqual(alone({ shift }).movement?.shift, whole.movement?.shift);
    assert.deepEqual(alone({ zoom }).movement?.zoom, whole.movement?.zoom);
    assert.equal(alone({ horizontalFlip: true }).flippedHorizontally, whole.flippedHorizontally);
    assert.equal(alone({ verticalFlip: true }).flippedVertically, whole.flippedVertically);
    assert.deepEqual(alone({ color }).color, whole.color);
  }
});

test("an absent kind changes nothing", () => {
  const unchanged = { window: undefined, movement: undefined, flippedHorizontally: false, flippedVertically: false, color: undefined };
  assert.deepEqual(drawView(noFlips, ids[0]!, 1, square), unchanged);
  const turnedOnly = drawView({ ...noFlips, rotation: { maxDegrees: 10 } }, ids[0]!, 1, square);
  assert.deepEqual(turnedOnly.movement, { degrees: turnedOnly.movement?.degrees, shift: { x: 0, y: 0 }, zoom: { x: 1, y: 1 } });
});

test("the order of drawing does not matter, and only the aspect of the picture does", () => {
  const forwards = [1, 2, 3, 4].map((view) => drawView(everything, ids[7]!, view, square));
  const backwards = [4, 3, 2, 1].map((view) => drawView(everything, ids[7]!, view, { width: 600, height: 600 })).reverse();
  assert.deepEqual(backwards, forwards);
  assert.equal(new Set(forwards.map((draw) => JSON.stringify(draw))).size, 4);
});

test("views are numbered from 1, and the crops exclude each other", () => {
  assert.throws(() => drawView(everything, ids[0]!, 0, square), /number 1 on, got 0/);
  assert.throws(() => drawView(everything, ids[0]!, 1.5, square), /number 1 on/);
  assert.throws(
    () => drawView({ ...everything, randomCrop: { marginPercent: 1, scalePercent: 0 } }, ids[0]!, 1, square),
    /exclude each other/,
  );
});
