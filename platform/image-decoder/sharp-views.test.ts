import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import sharp, { type Sharp } from "sharp";
import { beforeAll, describe, test } from "vitest";
import { sha256Hex } from "../../domain/features/sha256.js";
import { type Augmentation, drawView, type Movement, type ViewDraw } from "../../domain/features/views.js";
import { SharpImageDecoder } from "./sharp.js";
import { type Pixels, renderView } from "./sharp-views.js";

const decoder = new SharpImageDecoder();
const size = 64;
const geometry = { size, resize: "STRETCH", resizeTo: size } as const;
const noFlips = { horizontalFlip: false, verticalFlip: false };
const wholeCrop = { minScale: 1, maxScale: 1, minAspect: 1.5, maxAspect: 1.5 };
const everything: Augmentation = {
  randomResizedCrop: { minScale: 0.08, maxScale: 1, minAspect: 0.75, maxAspect: 1.3333 },
  horizontalFlip: true,
  verticalFlip: true,
  rotation: { maxDegrees: 30 },
  shift: { maxWidth: 0.1, maxHeight: 0.1 },
  zoom: { min: 0.9, max: 1.1 },
  color: { brightness: 0.2, contrast: 0.2, saturation: 0.5 },
};

/** Soft waves with no symmetry, so that every turn, mirroring and move shows. */
function waves(width: number, height: number): Pixels {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [u, v] = [x / width, y / height];
      data[at++] = 128 + 100 * Math.sin(7 * u + 2 * v);
      data[at++] = 40 + 180 * u * v;
      data[at++] = 128 + 90 * Math.cos(5 * v - 3 * u);
    }
  }
  return { data, width, height };
}

const opened = ({ data, width, height }: Pixels): Sharp => sharp(data, { raw: { width, height, channels: 3 } });
const base = waves(size, size);
const still: ViewDraw = { window: undefined, movement: undefined, flippedHorizontally: false, flippedVertically: false, color: undefined };
const rendered = (draw: Partial<ViewDraw>, from = base): Promise<Uint8Array> => renderView(from, { ...still, ...draw }, size, "linear");
const moved = (movement: Partial<Movement>): Promise<Uint8Array> =>
  rendered({ movement: { degrees: 0, shift: { x: 0, y: 0 }, zoom: { x: 1, y: 1 }, ...movement } });

async function views(
  bytes: Uint8Array,
  augmentation: Augmentation,
  numbers: readonly number[],
  as = geometry,
): Promise<readonly Uint8Array[]> {
  const decoded = await decoder.decodeViews(bytes, as, { imageId: sha256Hex(bytes), augmentation, views: numbers });
  assert.equal(decoded.kind, "decoded", decoded.kind === "rejected" ? decoded.reason : "");
  return decoded.kind === "decoded" ? decoded.pictures : [];
}

async function plain(bytes: Uint8Array): Promise<Uint8Array> {
  const decoded = await decoder.decode(bytes, geometry);
  assert.ok(decoded.kind === "decoded");
  return decoded.pixels;
}

function farthest(actual: Uint8Array, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  return actual.reduce((worst, value, index) => Math.max(worst, Math.abs(value - (expected[index] ?? NaN))), 0);
}

/** What `pixelAt` says for each pixel of a view. */
function expected(pixelAt: (x: number, y: number, channel: number) => number): number[] {
  return Array.from({ length: size * size * 3 }, (_, at) => pixelAt(Math.floor(at / 3) % size, Math.floor(at / 3 / size), at % 3));
}

const at = (x: number, y: number, channel: number): number => base.data[(y * size + x) * 3 + channel] ?? NaN;
const inside = (index: number): number => Math.min(size - 1, Math.max(0, index));

describe("movement", () => {
  test("none is no change, not of one bit", async () => {
    assert.deepEqual(Buffer.from(await moved({})), Buffer.from(base.data));
  });

  test("a quarter, half and three quarter turns are exact, clockwise", async () => {
    for (const degrees of [90, 180, 270]) {
      const turned = await opened(base).rotate(degrees).raw().toBuffer();
      assert.deepEqual(Buffer.from(await moved({ degrees })), turned, `${degrees} degrees`);
    }
  });

  test("a shift by whole pixels is exact, and its edge repeats", async () => {
    for (const [right, down] of [
      [5, 0],
      [0, -7],
      [-13, 20],
      [64, 0],
    ] as const) {
      const shifted = expected((x, y, channel) => at(inside(x - right), inside(y - down), channel));
      assert.equal(farthest(await moved({ shift: { x: right / size, y: down / size } }), shifted), 0, `${right}, ${down}`);
    }
  });

  test.each<[Partial<Movement>]>([
    [{ degrees: 17 }],
    [{ degrees: -151.5 }],
    [{ zoom: { x: 2, y: 1.5 } }],
    [{ zoom: { x: 0.25, y: 4 } }],
    [{ zoom: { x: 0.25, y: 0.25 }, degrees: 45, shift: { x: 1, y: -1 } }],
    [{ degrees: 33, shift: { x: 0.13, y: -0.21 }, zoom: { x: 1.3, y: 0.7 } }],
    [{ degrees: -8, shift: { x: -0.5, y: 0.01 }, zoom: { x: 0.8, y: 0.9 } }],
  ])("%j: turned about the centre, shifted, magnified, the edges repeated", async (movement) => {
    const { degrees, shift, zoom } = { degrees: 0, shift: { x: 0, y: 0 }, zoom: { x: 1, y: 1 }, ...movement };
    const [cos, sin] = [Math.cos((degrees / 180) * Math.PI), Math.sin((degrees / 180) * Math.PI)];
    const centre = (size - 1) / 2;
    const bilinear = expected((x, y, channel) => {
      const right = (x - centre) / zoom.x - shift.x * size;
      const down = (y - centre) / zoom.y - shift.y * size;
      const [fromX, fromY] = [centre + cos * right + sin * down, centre + cos * down - sin * right];
      const [left, top] = [Math.floor(fromX), Math.floor(fromY)];
      const [alongX, alongY] = [fromX - left, fromY - top];
      const row = (line: number): number =>
        (1 - alongX) * at(inside(left), inside(line), channel) + alongX * at(inside(left + 1), inside(line), channel);
      return (1 - alongY) * row(top) + alongY * row(top + 1);
    });
    const worst = farthest(await moved(movement), bilinear);
    assert.ok(worst <= 2, `off by ${worst}`);
  });
});

test("the smallest magnification fills a view of any size", async () => {
  for (const side of [1, 2, 63, 65]) {
    const movement = { degrees: 0, shift: { x: 0, y: 0 }, zoom: { x: 0.25, y: 0.25 } };
    const view = await renderView(waves(side, side), { ...still, movement }, side, "linear");
    assert.equal(view.length, side * side * 3);
  }
});

describe("flips", () => {
  test("are exact mirror images of the view without them, whatever else happens to it", async () => {
    const draw = drawView(everything, "ab".repeat(32), 5, base);
    const unflipped = await rendered({ ...draw, flippedHorizontally: false, flippedVertically: false });
    const asDrawn = (x: number, y: number, channel: number): number => unflipped[(y * size + x) * 3 + channel] ?? NaN;
    const mirrored = await rendered({ ...draw, flippedHorizontally: true, flippedVertically: false });
    assert.equal(
      farthest(
        mirrored,
        expected((x, y, channel) => asDrawn(size - 1 - x, y, channel)),
      ),
      0,
    );
    const upsideDown = await rendered({ ...draw, flippedHorizontally: false, flippedVertically: true });
    assert.equal(
      farthest(
        upsideDown,
        expected((x, y, channel) => asDrawn(x, size - 1 - y, channel)),
      ),
      0,
    );
    assert.notEqual(farthest(mirrored, unflipped), 0);
  });
});

describe("colours", () => {
  test.each([
    { brightness: 1, contrast: 1, saturation: 1 },
    { brightness: 1.3, contrast: 1, saturation: 1 },
    { brightness: 1, contrast: 0.5, saturation: 1 },
    { brightness: 1, contrast: 1, saturation: 0 },
    { brightness: 1, contrast: 1, saturation: 1.8 },
    { brightness: 0.8, contrast: 1.4, saturation: 0.6 },
  ])("%j", async (color) => {
    const recoloured = expected((x, y, channel) => {
      const grey = 0.299 * at(x, y, 0) + 0.587 * at(x, y, 1) + 0.114 * at(x, y, 2);
      const saturated = grey + color.saturation * (at(x, y, channel) - grey);
      return Math.min(255, Math.max(0, color.contrast * (color.brightness * saturated - 127.5) + 127.5));
    });
    const worst = farthest(await rendered({ color }), recoloured);
    assert.ok(worst <= 0.5001, `off by ${worst}: rounded, not cut off`);
  });
});

describe("windows", () => {
  test("are cut out of the whole picture and stretched", async () => {
    const whole = waves(300, 200);
    const part = await opened(whole)
      .extract({ left: 30, top: 100, width: 150, height: 80 })
      .resize(size, size, { fit: "fill", kernel: "linear" })
      .raw()
      .toBuffer();
    assert.deepEqual(Buffer.from(await rendered({ window: { left: 0.1, top: 0.5, width: 0.5, height: 0.4 } }, whole)), part);
  });

  test("have at least one pixel and stay in the picture", async () => {
    for (const window of [
      { left: 0.999, top: 0.999, width: 0.001, height: 0.001 },
      { left: 0.6, top: 0, width: 0.4, height: 1 },
    ])
      assert.equal((await rendered({ window }, waves(7, 1))).length, size * size * 3);
  });

  test("the whole picture at its aspect is the plain picture", async () => {
    const augmentation = { ...noFlips, randomResizedCrop: wholeCrop };
    const exact = [await opened(waves(300, 200)).png().toBuffer(), await opened(waves(120, 80)).jpeg().toBuffer()];
    for (const bytes of exact) {
      const [view] = await views(bytes, augmentation, [1]);
      assert.ok(Buffer.from(view!).equals(await plain(bytes)));
    }
    // For the plain picture a large JPEG and a WebP are decoded at a fraction of their size.
    const shrunk = [
      await opened(waves(3_000, 2_000)).jpeg({ quality: 95 }).toBuffer(),
      await opened(waves(300, 200)).webp({ quality: 95 }).toBuffer(),
    ];
    for (const bytes of shrunk) assert.ok(farthest((await views(bytes, augmentation, [1]))[0]!, await plain(bytes)) <= 4);
  });

  test("do not look at resize and resizeTo", async () => {
    const bytes = await opened(waves(300, 200)).png().toBuffer();
    const cropped = { size, resize: "SHORT_SIDE", resizeTo: 90 } as const;
    const augmentation = { ...noFlips, randomCrop: { marginPercent: 20, scalePercent: 0 } };
    const numbers = [1, 2];
    const decoded = await decoder.decodeViews(bytes, cropped, { imageId: sha256Hex(bytes), augmentation, views: numbers });
    assert.ok(decoded.kind === "decoded");
    assert.deepEqual(decoded.pictures, await views(bytes, augmentation, numbers));
  });
});

describe("views", () => {
  let bytes: Buffer;
  beforeAll(async () => {
    bytes = await opened(waves(300, 200)).jpeg({ quality: 90 }).toBuffer();
  });

  test.each<[string, Augmentation]>([
    ["with a crop", everything],
    ["without", { ...noFlips, rotation: { maxDegrees: 30 }, horizontalFlip: true }],
  ])("%s do not depend on those beside them, on the order, or on what else is decoded", async (_, augmentation) => {
    const together = await views(bytes, augmentation, [0, 1, 2, 3]);
    assert.deepEqual(Buffer.from(together[0]!), Buffer.from(await plain(bytes)));
    const [third, zeroth, first] = await views(bytes, augmentation, [3, 0, 1]);
    assert.deepEqual([zeroth, first, third], [together[0], together[1], together[3]]);
    const alone = await Promise.all([1, 2, 3].map(async (view) => (await views(bytes, augmentation, [view]))[0]));
    assert.deepEqual(alone, together.slice(1));
    assert.equal(new Set(together.map((view) => createHash("sha256").update(view).digest("hex"))).size, 4);
  });

  test("start from the plain picture where they have no crop", async () => {
    const cropped = { size, resize: "STRETCH", resizeTo: 80 } as const;
    const request = { imageId: sha256Hex(bytes), augmentation: { ...noFlips, horizontalFlip: true }, views: [0, 1, 2, 3, 4, 5, 6, 7] };
    const decoded = await decoder.decodeViews(bytes, cropped, request);
    assert.ok(decoded.kind === "decoded");
    const original = decoded.pictures[0]!;
    const mirrored = await opened({ data: original, width: size, height: size }).flop().raw().toBuffer();
    const kinds = decoded.pictures.map((view) =>
      mirrored.equals(view) ? "mirrored" : Buffer.from(view).equals(original) ? "plain" : "other",
    );
    assert.deepEqual(new Set(kinds), new Set(["plain", "mirrored"]));
  });

  test("of 16 bits, grey and transparent pictures are 8-bit RGB", async () => {
    const augmentation = { ...noFlips, randomResizedCrop: wholeCrop };
    const picture = (): Sharp => opened(waves(300, 200));
    const transparent = new Uint8Array(300 * 200 * 4).map((_, index) => (index % 4 === 3 ? 128 : index % 4 === 0 ? 255 : 0));
    const made = {
      "16 bits": await picture().toColourspace("rgb16").png().toBuffer(),
      grey: await picture().greyscale().toColourspace("b-w").png().toBuffer(),
      transparent: await sharp(transparent, { raw: { width: 300, height: 200, channels: 4 } })
        .png()
        .toBuffer(),
    };
    for (const [name, png] of Object.entries(made)) {
      const [view] = await views(png, augmentation, [1]);
      assert.ok(farthest(view!, await plain(png)) <= 1, name);
      for (const other of await views(png, everything, [1, 2, 3])) assert.equal(other.length, size * size * 3, name);
    }
    assert.ok(
      farthest(
        (await views(made.transparent, augmentation, [1]))[0]!,
        expected((_x, _y, channel) => (channel === 0 ? 255 : 127)),
      ) <= 1,
    );
  });

  test("of a turned picture are cut out of what is seen", async () => {
    const upright = await opened(waves(300, 200)).png().toBuffer();
    const stored = await sharp(await sharp(upright).rotate(270).png().toBuffer())
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    const request = { imageId: sha256Hex(upright), augmentation: everything, views: [1, 2] };
    const [one, two] = [await decoder.decodeViews(upright, geometry, request), await decoder.decodeViews(stored, geometry, request)];
    assert.deepEqual(two, one);
  });

  test("of pictures with extreme sides can be had", async () => {
    for (const [width, height] of [
      [1, 1],
      [2_000, 1],
      [1, 3_000],
    ] as const) {
      const png = await opened(waves(width, height)).png().toBuffer();
      for (const view of await views(png, everything, [1, 2])) assert.equal(view.length, size * size * 3);
    }
  });

  test("of a damaged picture are refused with the reason of the plain one", async () => {
    for (const damaged of [bytes.subarray(0, bytes.length * 0.6), Buffer.from("no picture")]) {
      const [one, two] = [
        await decoder.decode(damaged, geometry),
        await decoder.decodeViews(damaged, geometry, { imageId: sha256Hex(damaged), augmentation: everything, views: [1] }),
      ];
      assert.equal(two.kind, "rejected");
      assert.deepEqual(two, one);
    }
  });

  test("that are augmented need an augmentation, the plain one needs none", async () => {
    const request = { imageId: sha256Hex(bytes), augmentation: undefined, views: [0] };
    assert.deepEqual(await decoder.decodeViews(bytes, geometry, request), { kind: "decoded", pictures: [await plain(bytes)] });
    await assert.rejects(decoder.decodeViews(bytes, geometry, { ...request, views: [1] }), /view 1 needs an augmentation/);
  });
});

/** Recorded by another process on x64 with the decoder that it names. A new decoder may give other pixels: look at some of them, then record anew. */
describe.skipIf(process.arch !== "x64")("recorded views (recorded on x64)", () => {
  const golden = JSON.parse(readFileSync(new URL("../../test/golden/views.json", import.meta.url), "utf8")) as {
    readonly decoder: string;
    readonly picture: string;
    readonly views: Readonly<Record<string, readonly string[]>>;
  };
  const augmentations: Readonly<Record<string, Augmentation>> = {
    "random resized crop, flip": { ...noFlips, randomResizedCrop: everything.randomResizedCrop, horizontalFlip: true },
    "retrain distortions": {
      ...noFlips,
      randomCrop: { marginPercent: 10, scalePercent: 10 },
      color: { brightness: 0.1, contrast: 0, saturation: 0 },
    },
    "Keras generator": { ...noFlips, rotation: { maxDegrees: 40 }, shift: { maxWidth: 0.2, maxHeight: 0.2 }, zoom: { min: 0.8, max: 1.2 } },
    everything,
  };

  test("have the bits that they had", async () => {
    assert.equal(decoder.version, golden.decoder);
    const bytes = readFileSync(new URL(`../../${golden.picture}`, import.meta.url));
    const digests: Record<string, string[]> = {};
    for (const [name, augmentation] of Object.entries(augmentations)) {
      const decoded = await decoder.decodeViews(
        bytes,
        { size: 224, resize: "SHORT_SIDE", resizeTo: 256 },
        { imageId: sha256Hex(bytes), augmentation, views: [0, 1, 2, 3] },
      );
      assert.ok(decoded.kind === "decoded");
      digests[name] = decoded.pictures.map((view) => sha256Hex(view));
    }
    assert.deepEqual(digests, golden.views);
  });
});
