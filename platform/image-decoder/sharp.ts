import assert from "node:assert/strict";
import sharp, { type Sharp, type SharpOptions } from "sharp";
import { drawView } from "../../domain/features/views.js";
import { limits } from "../../domain/limits.js";
import { DecodeGate } from "./decode-gate.js";
import type { DecodedImage, DecodedViews, Geometry, ImageDecoder, RejectedImage, ViewsRequest } from "./image-decoder.js";
import { type PictureHeader, readPictureHeader } from "./picture-header.js";
import { type Pixels, pixelsOf, renderView } from "./sharp-views.js";

/** Grows with every change below that can change a pixel of a plain picture; part of `version`, so that old features are not mixed with new ones. */
const PIPELINE_REVISION = 1;

/** Libraries inside libvips that shape pixels. */
const pixelLibraries = ["vips", "mozjpeg", "jpeg", "png", "webp", "lcms", "highway"] as const;

/**
 * Untrusted input: limits hold before decoding. `truncated` rejects a file that ends early, but not a camera's JPEG with stray bytes between segments,
 * which the default `warning` would reject.
 */
const inputOptions: SharpOptions = { failOn: "truncated", limitInputPixels: limits.imagePixels, limitInputChannels: 5 };

/**
 * `linear` is a triangle filter that widens when it shrinks: what "bilinear" means in the recipes where a picture is enlarged, and free of aliasing where it is
 * shrunk. The default (lanczos3) took 10 to 20 % more time on photographs of 320 pixels; a linear classifier on MobileNetV2 1.0 features (flower_photos, 5-fold)
 * does as well on both: 0.857 and 0.858.
 */
const KERNEL = "linear";

/**
 * Short side, in sizes of the network's input, of the largest picture that windows are cut out of. A window of a quarter of each side still has every pixel that the network takes
 * (the smallest of the usual random resized crop has 8 % of the area), and a view of a photograph of 12 megapixels takes half the time.
 */
const WHOLE_PICTURE_SIZES = 4;

/** Pixels of the long side of a picture whose short side was brought to `resizeTo`: far above any panorama, below what libvips can address. */
const RESIZED_SIDE_MAX = 10_000_000;

/** A picture whose failure cannot be told from another thread's is tried alone this often. */
const ATTEMPTS_ALONE = 3;

/** libvips keeps one error buffer for the whole process, so the gate is the process's too. */
const gate = new DecodeGate();

/**
 * Decodes with sharp (libvips). Each call takes one libuv thread: keep as many calls in flight as there are cores, and set UV_THREADPOOL_SIZE to at least that
 * number plus 2, so that file reads do not queue behind pictures.
 */
export class SharpImageDecoder implements ImageDecoder {
  readonly version: string;

  constructor() {
    sharp.concurrency(1); // one picture a thread: no threads inside a picture
    sharp.cache(false); // no picture is decoded twice, a cache only holds memory
    const versions: Readonly<Record<string, string | undefined>> = sharp.versions;
    const libraries = pixelLibraries.filter((name) => versions[name] !== undefined).map((name) => `${name}-${versions[name] ?? ""}`);
    this.version = [`sharp-${versions.sharp ?? ""}`, ...libraries, `pipeline-${PIPELINE_REVISION}`].join(" ");
  }

  async decode(bytes: Uint8Array, geometry: Geometry): Promise<DecodedImage | RejectedImage> {
    const decoded = await this.#attempt(bytes, geometry, () => plainPicture(bytes, geometry));
    return decoded.kind === "rejected" ? decoded : { kind: "decoded", pixels: decoded.value.data };
  }

  async decodeViews(bytes: Uint8Array, geometry: Geometry, request: ViewsRequest): Promise<DecodedViews | RejectedImage> {
    const decoded = await this.#attempt(bytes, geometry, () => decodedViews(bytes, geometry, request));
    return decoded.kind === "rejected" ? decoded : { kind: "decoded", pictures: decoded.value };
  }

  async thumbnail(pixels: Uint8Array, size: number): Promise<Uint8Array> {
    assert.equal(pixels.length, size * size * 3, "pixels of [size, size, 3]");
    const small = shrinkByCorners(pixels, size, limits.thumbnailPixels);
    return gate.shared(() =>
      sharp(small.pixels, { raw: { width: small.size, height: small.size, channels: 3 } })
        .jpeg({ quality: 70, optimiseCoding: false })
        .toBuffer(),
    );
  }

  /** `decode` among other pictures, and once more alone where it fails. */
  async #attempt<T>(
    bytes: Uint8Array,
    geometry: Geometry,
    decode: () => Promise<T>,
  ): Promise<{ readonly kind: "decoded"; readonly value: T } | RejectedImage> {
    const header = readPictureHeader(bytes);
    const refusal = refusalOf(bytes, header, geometry);
    if (refusal !== undefined) return { kind: "rejected", reason: refusal };
    try {
      return { kind: "decoded", value: await gate.shared(decode) };
    } catch {
      return await this.#attemptAlone(bytes, header, decode);
    }
  }

  /**
   * The second look at a picture that failed. Other threads' errors mix with its own in libvips' one buffer and may even empty it, so that only a failure with no
   * other picture in flight says something about this picture.
   */
  async #attemptAlone<T>(
    bytes: Uint8Array,
    header: PictureHeader,
    decode: () => Promise<T>,
  ): Promise<{ readonly kind: "decoded"; readonly value: T } | RejectedImage> {
    assert.ok(header.kind === "picture");
    return gate.alone(async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          return { kind: "decoded", value: await decode() };
        } catch (error) {
          const complaint = complaintAboutBytes(error) ?? (attempt === ATTEMPTS_ALONE && isSilent(error) ? NO_REASON : undefined);
          if (complaint !== undefined) {
            const found = `found ${bytes.length} bytes that are damaged or cut short (${complaint})`;
            return {
              kind: "rejected",
              reason: `expected a whole ${header.format} picture of ${header.width} x ${header.height} pixels, ${found}`,
            };
          }
          if (attempt === ATTEMPTS_ALONE) throw error;
        }
      }
    });
  }
}

/** Why a picture is not even tried, or undefined. */
function refusalOf(bytes: Uint8Array, header: PictureHeader, geometry: Geometry): string | undefined {
  if (bytes.length > limits.imageBytes) return `expected a file of at most ${limits.imageBytes} bytes, found ${bytes.length}`;
  if (header.kind === "unusable") return header.reason;
  const { format, width, height } = header;
  if (width * height > limits.imagePixels)
    return `expected at most ${limits.imagePixels} pixels, found a ${format} picture of ${width} x ${height}`;
  const longSide = geometry.resize === "SHORT_SIDE" ? (Math.max(width, height) / Math.min(width, height)) * geometry.resizeTo : 0;
  if (longSide > RESIZED_SIDE_MAX) {
    return `expected a picture that is at most ${RESIZED_SIDE_MAX} pixels long once its short side has ${geometry.resizeTo}, found a ${format} picture of ${width} x ${height}`;
  }
  return undefined;
}

/** The picture as it is seen: turned, without alpha. */
function upright(bytes: Uint8Array): Sharp {
  return sharp(bytes, inputOptions).autoOrient().flatten({ background: "#ffffff" });
}

/** View 0. */
async function plainPicture(bytes: Uint8Array, { size, resize, resizeTo }: Geometry): Promise<Pixels> {
  assert.ok(resizeTo >= size, "resizeTo is at least size");
  const fit = resize === "STRETCH" ? "fill" : "cover";
  const margin = Math.floor((resizeTo - size) / 2);
  return pixelsOf(
    upright(bytes)
      .resize(resizeTo, resizeTo, { fit, position: "centre", kernel: KERNEL })
      .extract({ left: margin, top: margin, width: size, height: size }),
  );
}

/** What windows are cut out of: the whole picture, or a smaller copy of a very large one. */
async function wholePicture(bytes: Uint8Array, size: number): Promise<Pixels> {
  const shortSide = size * WHOLE_PICTURE_SIZES;
  return pixelsOf(upright(bytes).resize(shortSide, shortSide, { fit: "outside", withoutEnlargement: true, kernel: KERNEL }));
}

/**
 * One after another: a call keeps one thread busy. Eight random resized crops of one picture (flower_photos, 224 pixels) take 17 ms of CPU time; decoded anew for each they take 36, and a
 * plain picture 3.5.
 */
async function decodedViews(bytes: Uint8Array, geometry: Geometry, { augmentation, imageId, views }: ViewsRequest): Promise<Uint8Array[]> {
  const hasWindow = (augmentation?.randomResizedCrop ?? augmentation?.randomCrop) !== undefined;
  const plain = !hasWindow || views.includes(0) ? await plainPicture(bytes, geometry) : undefined;
  const base = hasWindow && views.some((view) => view > 0) ? await wholePicture(bytes, geometry.size) : plain;
  const pictures: Uint8Array[] = [];
  for (const view of views) {
    const from = view === 0 ? plain : base;
    assert.ok(from !== undefined, "decoded above");
    if (view === 0) pictures.push(from.data);
    else {
      assert.ok(augmentation !== undefined, `view ${view} needs an augmentation`);
      pictures.push(await renderView(from, drawView(augmentation, imageId, view, from), geometry.size, KERNEL));
    }
  }
  return pictures;
}

/** Errors of libvips that are about the bytes of a picture: every line must be one of these. A profile for colours that is damaged is passed over, but its errors stay. */
const bytesErrors =
  /^(VipsJpeg|VipsIcc|vipspng|pngload_buffer|pngload|webp|webp2vips|webpload_buffer|gifload_buffer|gifload|jpegload_buffer): |^Input buffer contains unsupported image format$|^Input image exceeds (pixel|channel) limit$/;

/** Errors that may stand behind the same prefixes and are about the machine. */
const machineErrors = /memory|alloc|thread|temporary|disk|too many open/i;

/** An interlaced PNG that is cut short and some damaged headers fail without a word. Lack of memory is never silent, and there is no file behind the bytes. */
const NO_REASON = "the decoder gives no reason";

/** Whether the decoder failed and left its error buffer empty. */
function isSilent(error: unknown): boolean {
  return error instanceof Error && /^(Unknown error|Input buffer has corrupt header: ?)$/.test(error.message.trim());
}

/** What the decoder said about the bytes, without repeats; undefined where it may have failed for another reason. */
function complaintAboutBytes(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const lines = error.message.split("\n").map((line) => line.replace(/^Input buffer has corrupt header: ?/, ""));
  const said = [...new Set(lines.filter((line) => line !== ""))];
  const isAboutBytes = said.length > 0 && said.every((line) => bytesErrors.test(line) && !machineErrors.test(line));
  return isAboutBytes ? said.map((line) => line.replace(/^\w+: /, "")).join("; ") : undefined;
}

/**
 * `[size, size, 3]` to `[m, m, 3]` with m at most `sideMax`: each pixel is the mean of the four corners of its square, which is enough for a thumbnail at half the
 * cost of the whole square's mean, and a resize through sharp would double that. The last rows and columns that fill no square are left out.
 */
function shrinkByCorners(pixels: Uint8Array, size: number, sideMax: number): { readonly pixels: Uint8Array; readonly size: number } {
  const box = Math.ceil(size / sideMax);
  if (box === 1) return { pixels, size };
  const side = Math.floor(size / box);
  const shrunk = new Uint8Array(side * side * 3);
  const right = (box - 1) * 3;
  const below = (box - 1) * size * 3;
  for (let row = 0, to = 0; row < side; row++) {
    for (let column = 0, at = row * box * size * 3; column < side; column++, at += box * 3) {
      for (let channel = at; channel < at + 3; channel++, to++) {
        const sum = pixels[channel]! + pixels[channel + right]! + pixels[channel + below]! + pixels[channel + below + right]!;
        shrunk[to] = (sum + 2) >> 2;
      }
    }
  }
  return { pixels: shrunk, size: side };
}
