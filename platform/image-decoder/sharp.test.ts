import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import sharp, { type Sharp, type SharpOptions } from "sharp";
import { beforeAll, describe, test } from "vitest";
import { limits } from "../../domain/limits.js";
import { SharpImageDecoder } from "./sharp.js";

const decoder = new SharpImageDecoder();
const stretch = { size: 64, resize: "STRETCH", resizeTo: 64 } as const;
const crop = { size: 64, resize: "SHORT_SIDE", resizeTo: 80 } as const;

/** A smooth picture: red grows to the right, green downwards, blue is 40. */
function gradient(width: number, height: number): { data: Uint8Array; at: (x: number, y: number) => [number, number, number] } {
  const at = (x: number, y: number): [number, number, number] => [Math.floor((x * 255) / width), Math.floor((y * 255) / height), 40];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) data.set(at(x, y), (y * width + x) * 3);
  return { data, at };
}

const raw = (width: number, height: number, channels: 3 | 4 = 3): SharpOptions => ({ raw: { width, height, channels } });
const picture = (width = 300, height = 200): Sharp => sharp(gradient(width, height).data, raw(width, height));

async function pixels(bytes: Uint8Array, geometry: Parameters<SharpImageDecoder["decode"]>[1] = stretch): Promise<Uint8Array> {
  const image = await decoder.decode(bytes, geometry);
  assert.equal(image.kind, "decoded", image.kind === "rejected" ? image.reason : "");
  return image.kind === "decoded" ? image.pixels : new Uint8Array();
}

async function reason(bytes: Uint8Array, geometry: Parameters<SharpImageDecoder["decode"]>[1] = stretch): Promise<string> {
  const image = await decoder.decode(bytes, geometry);
  assert.equal(image.kind, "rejected");
  return image.kind === "rejected" ? image.reason : "";
}

/** Largest difference of one channel value at a few places, against a formula. */
function farthest(actual: Uint8Array, expected: (x: number, y: number) => readonly number[], size = 64): number {
  let worst = 0;
  for (const y of [3, 20, 32, 45, 60]) {
    for (const x of [3, 20, 32, 45, 60]) {
      expected(x, y).forEach((value, channel) => {
        worst = Math.max(worst, Math.abs((actual[(y * size + x) * 3 + channel] ?? NaN) - value));
      });
    }
  }
  return worst;
}

const asStretched = (x: number, y: number): number[] => [((x + 0.5) * 255) / 64, ((y + 0.5) * 255) / 64, 40];

describe("formats", () => {
  test.each(["jpeg", "progressive jpeg", "png", "interlaced png", "webp", "lossless webp", "gif"])(
    "%s gives the same picture",
    async (name) => {
      const made = picture();
      const encoded = {
        jpeg: () => made.jpeg({ quality: 95 }),
        "progressive jpeg": () => made.jpeg({ quality: 95, progressive: true }),
        png: () => made.png(),
        "interlaced png": () => made.png({ progressive: true }),
        webp: () => made.webp({ quality: 95 }),
        "lossless webp": () => made.webp({ lossless: true }),
        gif: () => made.gif({ dither: 0 }),
      }[name];
      const bytes = await (encoded?.() ?? made).toBuffer();
      const result = await pixels(bytes);
      assert.equal(result.length, 64 * 64 * 3);
      assert.ok(farthest(result, asStretched) <= (name === "gif" ? 16 : 5), `off by ${farthest(result, asStretched)}`);
    },
  );

  test.each(["webp", "gif"] as const)("an animated %s gives its first frame", async (format) => {
    const frames = new Uint8Array(40 * 120 * 3);
    frames.fill(200, 0, 40 * 40 * 3); // frame 1 of 3 is light, the others are black
    const bytes = await sharp(frames, { raw: { width: 40, height: 120, channels: 3, pageHeight: 40 } })
      .toFormat(format)
      .toBuffer();
    assert.equal((await sharp(bytes).metadata()).pages, 2, "the encoder joins equal frames");
    assert.ok(farthest(await pixels(bytes), () => [200, 200, 200]) <= 3);
  });

  test("grey and 16-bit become 8-bit RGB", async () => {
    const grey = await picture().greyscale().toColourspace("b-w").png().toBuffer();
    assert.equal((await sharp(grey).metadata()).channels, 1);
    const fromGrey = await pixels(grey);
    assert.deepEqual(fromGrey[0], fromGrey[1]);
    const deep = await picture().toColourspace("rgb16").png().toBuffer();
    assert.equal((await sharp(deep).metadata()).depth, "ushort");
    assert.ok(farthest(await pixels(deep), asStretched) <= 3);
    const greyDeep = await sharp(new Uint16Array(50 * 50).fill(0x8000), { raw: { width: 50, height: 50, channels: 1 } })
      .toColourspace("grey16")
      .png()
      .toBuffer();
    assert.equal((await sharp(greyDeep).metadata()).depth, "ushort");
    assert.ok(farthest(await pixels(greyDeep), () => [128, 128, 128]) <= 1);
  });

  test("a CMYK JPEG keeps its colours", async () => {
    const bytes = await sharp({ create: { width: 60, height: 60, channels: 3, background: { r: 200, g: 60, b: 40 } } })
      .toColourspace("cmyk")
      .jpeg({ quality: 95 })
      .toBuffer();
    assert.equal((await sharp(bytes).metadata()).space, "cmyk");
    assert.ok(farthest(await pixels(bytes), () => [200, 60, 40]) <= 30);
  });

  test.each([8, 16])("alpha lies on white, %i bits", async (bits) => {
    const data = new Uint8Array(50 * 50 * 4);
    for (let i = 0; i < data.length; i += 4) data.set([255, 0, 0, 128], i);
    const made = sharp(data, raw(50, 50, 4));
    const bytes = await (bits === 16 ? made.toColourspace("rgb16") : made).png().toBuffer();
    assert.equal((await sharp(bytes).metadata()).hasAlpha, true);
    assert.ok(farthest(await pixels(bytes), () => [255, 127, 127]) <= 2);
  });

  test("all eight EXIF orientations turn the picture upright", async () => {
    // What is upright is dark on the left and light on the right, greener downwards.
    const undo: Record<number, (made: Sharp) => Sharp> = {
      1: (made) => made,
      2: (made) => made.flop(),
      3: (made) => made.rotate(180),
      4: (made) => made.flip(),
      5: (made) => made.rotate(270).flop(),
      6: (made) => made.rotate(270),
      7: (made) => made.rotate(90).flop(),
      8: (made) => made.rotate(90),
    };
    for (const [orientation, turn] of Object.entries(undo)) {
      const stored = await sharp(await turn(picture()).png().toBuffer())
        .withMetadata({ orientation: Number(orientation) })
        .jpeg({ quality: 95 })
        .toBuffer();
      const result = await pixels(stored);
      assert.ok(farthest(result, asStretched) <= 5, `orientation ${orientation} is off by ${farthest(result, asStretched)}`);
    }
  });
});

describe("geometry", () => {
  test("SHORT_SIDE keeps the aspect and takes the centre", async () => {
    const result = await pixels(await picture(300, 200).png().toBuffer(), crop);
    // 300 x 200 becomes 120 x 80, of which x 28 to 92 and y 8 to 72 are kept
    const expected = (x: number, y: number): number[] => [((x + 28.5) * 255) / 120, ((y + 8.5) * 255) / 80, 40];
    assert.ok(farthest(result, expected) <= 3, `off by ${farthest(result, expected)}`);
  });

  test("STRETCH beyond the size ignores the aspect and takes the centre", async () => {
    const result = await pixels(await picture(300, 200).png().toBuffer(), { size: 64, resize: "STRETCH", resizeTo: 80 });
    const expected = (x: number, y: number): number[] => [((x + 8.5) * 255) / 80, ((y + 8.5) * 255) / 80, 40];
    assert.ok(farthest(result, expected) <= 3, `off by ${farthest(result, expected)}`);
  });

  test("a turned picture is cropped as it is seen", async () => {
    const upright = await picture(300, 200).png().toBuffer();
    const stored = await sharp(await sharp(upright).rotate(270).png().toBuffer())
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    const [one, two] = [await pixels(upright, crop), await pixels(stored, crop)];
    assert.ok(farthest(two, (x, y) => [...one.subarray((y * 64 + x) * 3, (y * 64 + x) * 3 + 3)]) <= 2);
  });

  test("one pixel fills the whole, and a line of 2,000 pixels is no problem", async () => {
    for (const geometry of [stretch, crop]) {
      assert.equal((await pixels(await picture(1, 1).png().toBuffer(), geometry)).length, 64 * 64 * 3);
      assert.equal((await pixels(await picture(2_000, 1).png().toBuffer(), geometry)).length, 64 * 64 * 3);
    }
  });

  test("a line whose resized length nobody could hold is rejected", async () => {
    assert.match(
      await reason(pngHeader(200_000, 1), crop),
      /at most 10000000 pixels long once its short side has 80, found a PNG picture of 200000 x 1/,
    );
  });

  test("the same bytes give the same pixels, alone and beside others", async () => {
    const files = await Promise.all(
      [1, 2, 3, 4].map((n) =>
        picture(200 + n, 150)
          .jpeg()
          .toBuffer(),
      ),
    );
    const alone = [];
    for (const file of files) alone.push(await pixels(file));
    assert.deepEqual(await Promise.all(files.map((file) => pixels(file))), alone);
  });
});

describe("what is refused", () => {
  test("foreign formats, by their bytes and never by their names", async () => {
    const svg = Buffer.from('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    assert.match(await reason(svg), /expected a JPEG, PNG, WebP or GIF picture, found an SVG file/);
    assert.match(await reason(await picture().tiff().toBuffer()), /found a TIFF file/);
    assert.match(await reason(await picture(64, 64).avif({ effort: 0 }).toBuffer()), /found an AVIF file/);
    assert.match(await reason(Buffer.from("%PDF-1.7\n")), /found a PDF file/);
    assert.match(await reason(Buffer.from("<!DOCTYPE html><p>404")), /found an HTML page/);
    assert.match(await reason(Buffer.from("just words\n")), /found a text file/);
    assert.match(await reason(Buffer.from([0, 1, 2, 3, 4])), /begins with the bytes 00 01 02 03/);
    assert.match(await reason(Buffer.alloc(0)), /found an empty file/);
  });

  test("limits hold before anything is decoded", async () => {
    const bomb = pngHeader(16_000, 16_000);
    assert.match(await reason(bomb), /expected at most 100000000 pixels, found a PNG picture of 16000 x 16000/);
    assert.match(await reason(new Uint8Array(limits.imageBytes + 1)), /expected a file of at most 67108864 bytes, found 67108865/);
  });

  const noise = new Uint8Array(120 * 90 * 3).map((_, index) => (Math.imul(index, 2_654_435_761) >>> 13) & 255);
  const variants = [
    ["jpeg", {}],
    ["jpeg", { progressive: true }],
    ["png", {}],
    ["png", { progressive: true }],
    ["webp", {}],
    ["gif", {}],
  ] as const;

  test.each(variants)("a %s with options %j that is cut anywhere in its data", async (format, options) => {
    const bytes = await sharp(noise, raw(120, 90)).toFormat(format, options).toBuffer();
    await pixels(bytes);
    for (const kept of [0.01, 0.1, 0.5, 0.9, 0.99]) {
      assert.match(await reason(bytes.subarray(0, Math.floor(bytes.length * kept))), /expected a whole (JPEG|PNG|WebP|GIF) picture/);
    }
  });

  test.each(variants)("a %s with options %j and a colour profile, damaged anywhere, is decoded or rejected", async (format, options) => {
    const bytes = await sharp(noise, raw(120, 90)).withIccProfile("p3").toFormat(format, options).toBuffer();
    for (let round = 0; round < 40; round++) {
      const damaged = Buffer.from(bytes);
      // Headers and profiles stand in front: half of the damage goes there.
      for (let at = 0; at < 8; at++) {
        const draw = Math.imul(round * 8 + at + 1, 2_654_435_761) >>> 0;
        damaged[(draw >>> 3) % (at % 2 === 0 ? bytes.length : 400)] = draw & 255;
      }
      assert.match((await decoder.decode(damaged, stretch)).kind, /decoded|rejected/);
    }
  });

  test("odd but whole camera files are accepted", async () => {
    const jpeg = await picture().jpeg({ progressive: true }).toBuffer();
    await pixels(Buffer.concat([jpeg, Buffer.from("maker's notes behind the end")]));
    const scan = jpeg.indexOf(Buffer.from([0xff, 0xda]), 700);
    const stray = Buffer.concat([jpeg.subarray(0, scan), Buffer.from([1, 2, 3]), jpeg.subarray(scan)]);
    await pixels(stray);
  });

  test("many bad pictures at once: each gets its own reason, every time, and good ones pass", async () => {
    const jpeg = await picture().jpeg().toBuffer();
    const png = await picture().png().toBuffer();
    const cutJpeg = jpeg.subarray(0, jpeg.length * 0.7);
    const cutPng = png.subarray(0, png.length * 0.5);
    const [ofJpeg, ofPng] = [await reason(cutJpeg), await reason(cutPng)];
    await Promise.all(
      Array.from({ length: 120 }, async (_, index) => {
        if (index % 3 === 0) assert.equal(await reason(cutJpeg), ofJpeg);
        else if (index % 3 === 1) assert.equal(await reason(cutPng), ofPng);
        else await pixels(jpeg);
      }),
    );
    assert.match(
      ofJpeg,
      /^expected a whole JPEG picture of 300 x 200 pixels, found \d+ bytes that are damaged or cut short \(premature end of JPEG image\)$/,
    );
  });
});

test("a thumbnail is a small JPEG of the same picture", async () => {
  const geometry = { size: 224, resize: "STRETCH", resizeTo: 224 } as const;
  const thumbnail = await decoder.thumbnail(await pixels(await picture().png().toBuffer(), geometry), 224);
  const { data, info } = await sharp(thumbnail).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [74, 74, 3]);
  assert.ok(farthest(data, (x, y) => [((x + 0.5) * 255) / 74.67, ((y + 0.5) * 255) / 74.67, 40], 74) <= 8);
  assert.ok(thumbnail.length < 4_000, `${thumbnail.length} bytes`);
});

describe.skipIf(process.env.GRAFT_TEST_DATA === undefined)("real photographs (need GRAFT_TEST_DATA)", () => {
  let folder = "";
  beforeAll(() => {
    folder = join(process.env.GRAFT_TEST_DATA ?? "", "images/flower_photos/daisy");
  });
  test("all decode", async () => {
    for (const name of readdirSync(folder).slice(0, 40)) await pixels(readFileSync(join(folder, name)));
  });
});

/** A PNG of a few bytes whose header claims any size. */
function pngHeader(width: number, height: number): Uint8Array {
  const chunk = (type: string, body: Buffer): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    return Buffer.concat([length, Buffer.from(type, "latin1"), body, Buffer.alloc(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.alloc(100))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
