/** What the first bytes of a picture file say, read before anything is decoded. Pure; never reads past the end. */
export type PictureHeader =
  | { readonly kind: "picture"; readonly format: PictureFormat; readonly width: number; readonly height: number }
  | { readonly kind: "unusable"; readonly reason: string };

export type PictureFormat = "JPEG" | "PNG" | "WebP" | "GIF";

/** Formats that graft decodes, for messages. */
const ACCEPTED = "a JPEG, PNG, WebP or GIF picture";

/** Format by its magic bytes, width and height in pixels as they are stored (before any turn by EXIF orientation). */
export function readPictureHeader(bytes: Uint8Array): PictureHeader {
  if (bytes.length === 0) return unusable(`expected ${ACCEPTED}, found an empty file`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (startsWith(bytes, 0, [0xff, 0xd8, 0xff])) return sized("JPEG", jpegSize(view));
  if (startsWith(bytes, 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])) return sized("PNG", pngSize(view));
  if (textAt(bytes, 0, 4) === "RIFF" && textAt(bytes, 8, 4) === "WEBP") return sized("WebP", webpSize(view));
  if (["GIF87a", "GIF89a"].includes(textAt(bytes, 0, 6))) return sized("GIF", gifSize(view));
  return unusable(`expected ${ACCEPTED}, found ${foreignFormat(bytes)}`);
}

type Size = { readonly width: number; readonly height: number } | undefined;

function sized(format: PictureFormat, size: Size): PictureHeader {
  if (size === undefined) return unusable(`expected a whole ${format} picture, found one whose header is damaged or cut short`);
  if (size.width === 0 || size.height === 0)
    return unusable(`expected a ${format} picture of at least 1 x 1 pixels, found ${size.width} x ${size.height}`);
  return { kind: "picture", format, ...size };
}

/** Width and height stand in the first frame header (SOF0 to SOF15, ITU-T T.81 B.2.2); other segments are skipped by their length. */
function jpegSize(view: DataView): Size {
  let at = 2;
  for (;;) {
    while (at < view.byteLength && view.getUint8(at) !== 0xff) at++; // libjpeg skips stray bytes between segments too
    while (at < view.byteLength && view.getUint8(at) === 0xff) at++; // fill bytes
    if (at + 3 > view.byteLength) return undefined;
    const marker = view.getUint8(at++);
    const standsAlone = marker === 0x00 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (standsAlone) continue;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return at + 7 > view.byteLength ? undefined : { height: view.getUint16(at + 3), width: view.getUint16(at + 5) };
    if (marker === 0xd9 || marker === 0xda) return undefined; // the picture ends, or its data begin, without a frame header
    at += view.getUint16(at);
  }
}

/** IHDR is always the first chunk. */
function pngSize(view: DataView): Size {
  return view.byteLength < 33 ? undefined : { width: view.getUint32(16), height: view.getUint32(20) };
}

function gifSize(view: DataView): Size {
  return view.byteLength < 13 ? undefined : { width: view.getUint16(6, true), height: view.getUint16(8, true) };
}

/** Lossy (`VP8 `), lossless (`VP8L`) and extended (`VP8X`) files each keep their size elsewhere (RFC 9649, section 2). */
function webpSize(view: DataView): Size {
  if (view.byteLength < 30) return undefined;
  const chunk = String.fromCharCode(view.getUint8(12), view.getUint8(13), view.getUint8(14), view.getUint8(15));
  if (chunk === "VP8 ") return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  if (chunk === "VP8X") return { width: (view.getUint32(24, true) & 0xffffff) + 1, height: (view.getUint32(26, true) >>> 8) + 1 };
  return undefined;
}

/** Signatures of what people put into picture folders, so that the reason says more than "unknown". */
const foreignSignatures: readonly (readonly [name: string, offset: number, text: string])[] = [
  ["a TIFF file", 0, "II*\0"],
  ["a TIFF file", 0, "MM\0*"],
  ["a TIFF file", 0, "II+\0"],
  ["a PDF file", 0, "%PDF"],
  ["an AVIF file", 4, "ftypavif"],
  ["an AVIF file", 4, "ftypavis"],
  ["a HEIC file", 4, "ftyphei"],
  ["a HEIC file", 4, "ftypmif1"],
  ["a video", 4, "ftyp"],
  ["a JPEG XL file", 0, "\xff\x0a"],
  ["a JPEG XL file", 4, "JXL "],
  ["a JPEG 2000 file", 4, "jP  "],
  ["a BMP file", 0, "BM"],
  ["a Photoshop file", 0, "8BPS"],
  ["a ZIP file", 0, "PK\x03\x04"],
  ["a gzip file", 0, "\x1f\x8b"],
];

function foreignFormat(bytes: Uint8Array): string {
  for (const [name, offset, text] of foreignSignatures) {
    if (textAt(bytes, offset, text.length) === text) return name;
  }
  const start = textAt(bytes, 0, 1_024).toLowerCase();
  if (start.includes("<svg")) return "an SVG file";
  if (/^(\xef\xbb\xbf)?\s*<(!doctype html|html)/.test(start)) return "an HTML page";
  if (/^[\t\n\r\x20-\x7e]+$/.test(start)) return "a text file";
  const hex = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `a file that begins with the bytes ${hex}`;
}

function startsWith(bytes: Uint8Array, offset: number, expected: readonly number[]): boolean {
  return expected.every((byte, index) => bytes[offset + index] === byte);
}

/** Bytes as Latin-1 text, shorter where the file ends. */
function textAt(bytes: Uint8Array, offset: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + length));
}

function unusable(reason: string): PictureHeader {
  return { kind: "unusable", reason };
}
