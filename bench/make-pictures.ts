import { linkSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";

const SIDE = 32;
const CLASSES = 10;
/** Hard links of one file; ext4 allows 65,000. */
const LINKS_PER_FILE = 50_000;

/**
 * Writes PNG files of 32 x 32 pixels, no two with the same pixels, into ten class folders: each class has its own colour with noise on it, so that there is something to learn.
 * With `distinct` smaller than `count`, the other names are hard links to these.
 */
export function makePictures(folder: string, count: number, distinct = count): void {
  for (let label = 0; label < CLASSES; label++) mkdirSync(join(folder, `class-${label}`), { recursive: true });
  const path = (number: number): string => join(folder, `class-${number % CLASSES}`, `picture-${String(number).padStart(7, "0")}.png`);
  for (let number = 0; number < count; number++) {
    if (number < distinct) writeFileSync(path(number), noisyPicture(number));
    else linkSync(path(number % distinct), path(number));
  }
}

/** How many distinct files `count` names need. */
export function distinctFor(count: number): number {
  return Math.ceil(count / LINKS_PER_FILE / CLASSES) * CLASSES;
}

function noisyPicture(number: number): Uint8Array {
  // Each line begins with its filter, none. The first pixel holds the number, which makes every picture distinct.
  const lines = Buffer.alloc(SIDE * (1 + SIDE * 3));
  const label = number % CLASSES;
  let seed = number;
  for (let y = 0; y < SIDE; y++) {
    for (let value = 0; value < SIDE * 3; value++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      lines[y * (1 + SIDE * 3) + 1 + value] = ((label * 67 * (1 + (value % 3))) % 200) + (seed >>> 26);
    }
  }
  lines.writeUIntBE(number, 1, 3);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(SIDE, 0);
  header.writeUInt32BE(SIDE, 4);
  header.set([8, 2], 8); // 8 bits, red, green and blue
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(lines, { level: 1 })), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(kind: string, body: Uint8Array): Uint8Array {
  const named = Buffer.concat([Buffer.from(kind, "latin1"), body]);
  const framed = Buffer.alloc(named.length + 8);
  framed.writeUInt32BE(body.length, 0);
  framed.set(named, 4);
  framed.writeUInt32BE(crc32(named), 4 + named.length);
  return framed;
}
