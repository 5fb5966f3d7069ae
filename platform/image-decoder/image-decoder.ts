import type { Preprocessing } from "../../domain/network/preprocessing.js";

/** Turns untrusted bytes into pixels under the limits of domain/limits.ts. Pure in the bytes: the same bytes give the same answer on every run. */
export interface ImageDecoder {
  /** Decoder and version; part of the numerics profile. */
  readonly version: string;
  /**
   * Decodes, turns by the EXIF orientation, flattens alpha on white, converts to 8-bit sRGB and resizes as `geometry` says.
   * A picture is rejected only for what its bytes are. Lack of memory and the like throw.
   */
  decode(bytes: Uint8Array, geometry: Pick<Preprocessing, "size" | "resize" | "resizeTo">): Promise<DecodedImage | RejectedImage>;
  /** A JPEG whose long side has at most `thumbnailPixels` (domain/limits.ts), from what `decode` returned. */
  thumbnail(pixels: Uint8Array, size: number): Promise<Uint8Array>;
}

export interface DecodedImage {
  readonly kind: "decoded";
  /** `[size, size, 3]` in RGB order. */
  readonly pixels: Uint8Array;
}

export interface RejectedImage {
  readonly kind: "rejected";
  /** One sentence: what was expected and what was found. */
  readonly reason: string;
}
