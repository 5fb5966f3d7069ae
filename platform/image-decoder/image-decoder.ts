import type { ImageId } from "../../domain/features/feature-spec.js";
import type { Augmentation } from "../../domain/features/views.js";
import type { Preprocessing } from "../../domain/network/preprocessing.js";

/** Turns untrusted bytes into pixels under the limits of domain/limits.ts. Pure in the bytes: the same bytes give the same answer on every run. */
export interface ImageDecoder {
  /** Decoder and version; part of the numerics profile. */
  readonly version: string;
  /**
   * Decodes, turns by the EXIF orientation, flattens alpha on white, converts to 8-bit sRGB and resizes as `geometry` says.
   * A picture is rejected only for what its bytes are. Lack of memory and the like throw.
   */
  decode(bytes: Uint8Array, geometry: Geometry): Promise<DecodedImage | RejectedImage>;
  /**
   * Several views of one picture, which is decoded once for all that are augmented. View 0 is what `decode` gives, the others are what `drawView` (domain/features/views.ts) says.
   * A view's pixels depend neither on the views beside it nor on their order. Rejects and throws as `decode` does.
   */
  decodeViews(bytes: Uint8Array, geometry: Geometry, request: ViewsRequest): Promise<DecodedViews | RejectedImage>;
  /** A JPEG whose long side has at most `thumbnailPixels` (domain/limits.ts), from what `decode` returned. */
  thumbnail(pixels: Uint8Array, size: number): Promise<Uint8Array>;
}

export type Geometry = Pick<Preprocessing, "size" | "resize" | "resizeTo">;

export interface ViewsRequest {
  readonly imageId: ImageId;
  /** May be undefined where only view 0 is asked for. */
  readonly augmentation: Augmentation | undefined;
  readonly views: readonly number[];
}

export interface DecodedImage {
  readonly kind: "decoded";
  /** `[size, size, 3]` in RGB order. */
  readonly pixels: Uint8Array;
}

export interface DecodedViews {
  readonly kind: "decoded";
  /** `[size, size, 3]` in RGB order each, in the order of `views`. */
  readonly pictures: readonly Uint8Array[];
}

export interface RejectedImage {
  readonly kind: "rejected";
  /** One sentence: what was expected and what was found. */
  readonly reason: string;
}
