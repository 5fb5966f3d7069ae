import type { Channels, Window } from "../../domain/network/gradient/program.js";
import type { Padding, Shape } from "../../domain/network/network.js";

/** From `[rows, h, w, C]` to `[rows, h', w', C']`. */
export interface Maps {
  readonly rows: number;
  readonly from: Shape;
  readonly to: Shape;
}

interface Convolution {
  readonly window: Window;
  readonly channels: Channels;
}

/** x, kernel, bias -> y */
export function convolution(by: Convolution, maps: Maps, x: Float64Array, kernel: Float64Array, bias?: Float64Array): Float64Array {
  const filters = maps.to.at(-1) as number;
  const y = new Float64Array(valuesOf(maps.rows, maps.to)).map((_, i) => bias?.[i % filters] ?? 0);
  overProducts(by, maps, (xAt, step, kernelAt, yAt, count) => {
    for (let i = 0; i < count; i++) y[yAt + i] = (y[yAt + i] as number) + (x[xAt + i * step] as number) * (kernel[kernelAt + i] as number);
  });
  return y;
}

/** dy, kernel -> dx; `maps` leads from dy to dx. */
export function convolutionInputGradient(by: Convolution, { rows, from, to }: Maps, dy: Float64Array, kernel: Float64Array): Float64Array {
  const dx = new Float64Array(valuesOf(rows, to));
  overProducts(by, { rows, from: to, to: from }, (xAt, step, kernelAt, yAt, count) => {
    for (let i = 0; i < count; i++)
      dx[xAt + i * step] = (dx[xAt + i * step] as number) + (dy[yAt + i] as number) * (kernel[kernelAt + i] as number);
  });
  return dx;
}

/** x, dy -> dkernel */
export function convolutionKernelGradient(by: Convolution, maps: Maps, x: Float64Array, dy: Float64Array): Float64Array {
  const [height, width] = by.window.size;
  const perTap = by.channels === "each" ? 1 : (maps.to.at(-1) as number);
  const dkernel = new Float64Array(height * width * (maps.from.at(-1) as number) * perTap);
  overProducts(by, maps, (xAt, step, kernelAt, yAt, count) => {
    for (let i = 0; i < count; i++)
      dkernel[kernelAt + i] = (dkernel[kernelAt + i] as number) + (x[xAt + i * step] as number) * (dy[yAt + i] as number);
  });
  return dkernel;
}

/** x -> y; `from` is x's shape. */
export function pool({ kind, window }: { kind: "maxPool" | "averagePool"; window: Window }, maps: Maps, x: Float64Array): Float64Array {
  const y = new Float64Array(valuesOf(maps.rows, maps.to));
  overPools(window, maps, (yAt, inside) => {
    const values = inside.map((at) => x[at] as number);
    y[yAt] = kind === "maxPool" ? Math.max(...values) : values.reduce((sum, value) => sum + value, 0) / values.length;
  });
  return y;
}

/** dy, and x for the largest values, -> dx; `maps` leads from dy to dx. */
export function poolGradient({ window }: { window: Window }, { rows, from, to }: Maps, dy: Float64Array, x?: Float64Array): Float64Array {
  const dx = new Float64Array(valuesOf(rows, to));
  overPools(window, { rows, from: to, to: from }, (yAt, inside) => {
    const values = inside.map((at) => x?.[at] as number);
    const receivers = x === undefined ? inside : inside.slice(values.indexOf(Math.max(...values))).slice(0, 1);
    for (const at of receivers) dx[at] = (dx[at] as number) + (dy[yAt] as number) / receivers.length;
  });
  return dx;
}

export function pad({ padding }: { padding: Padding }, { rows, from, to }: Maps, x: Float64Array): Float64Array {
  const y = new Float64Array(valuesOf(rows, to));
  overInside(rows, from, to, padding, (inner, outer) => (y[outer] = x[inner] as number));
  return y;
}

export function crop({ padding }: { padding: Padding }, { rows, from, to }: Maps, dy: Float64Array): Float64Array {
  const dx = new Float64Array(valuesOf(rows, to));
  overInside(rows, to, from, padding, (inner, outer) => (dx[inner] = dy[outer] as number));
  return dx;
}

function valuesOf(rows: number, shape: Shape): number {
  return shape.reduce((product, length) => product * length, rows);
}

/** Calls `visit` for each output place and tap that lies inside the picture, with the first channel of both places. */
function overWindows(window: Window, { rows, from, to }: Maps, visit: (inAt: number, tap: number, outAt: number) => void): void {
  const [height, width, channels] = from as [number, number, number];
  const [outHeight, outWidth, outChannels] = to as [number, number, number];
  const [tapRows, tapColumns] = window.size;
  for (let row = 0; row < rows; row++) {
    for (let place = 0; place < outHeight * outWidth; place++) {
      const top = Math.floor(place / outWidth) * window.strides[0] - window.padding.top;
      const left = (place % outWidth) * window.strides[1] - window.padding.left;
      for (let tap = 0; tap < tapRows * tapColumns; tap++) {
        const [y, x] = [top + Math.floor(tap / tapColumns), left + (tap % tapColumns)];
        if (y < 0 || y >= height || x < 0 || x >= width) continue;
        visit(((row * height + y) * width + x) * channels, tap, (row * outHeight * outWidth + place) * outChannels);
      }
    }
  }
}

/** Calls `visit` for runs of a convolution's products: of `count` values of kernel and y each, with x at every `step` values. */
function overProducts(
  { window, channels: which }: Convolution,
  maps: Maps,
  visit: (xAt: number, step: 0 | 1, kernelAt: number, yAt: number, count: number) => void,
): void {
  const channels = maps.from.at(-1) as number;
  const filters = maps.to.at(-1) as number;
  overWindows(window, maps, (inAt, tap, outAt) => {
    if (which === "each") visit(inAt, 1, tap * channels, outAt, channels);
    else for (let c = 0; c < channels; c++) visit(inAt + c, 0, (tap * channels + c) * filters, outAt, filters);
  });
}

/** Calls `visit` for each value of a pooling's output with the values of the window that lie inside the picture, row by row. */
function overPools(window: Window, maps: Maps, visit: (yAt: number, inside: readonly number[]) => void): void {
  const channels = maps.to.at(-1) as number;
  const inside = Array.from({ length: valuesOf(maps.rows, maps.to) }, (): number[] => []);
  overWindows(window, maps, (inAt, _tap, outAt) => {
    for (let c = 0; c < channels; c++) inside[outAt + c]?.push(inAt + c);
  });
  inside.forEach((places, yAt) => {
    visit(yAt, places);
  });
}

/** Calls `visit` for each value of the inner picture with its place in the padded one. */
function overInside(rows: number, inner: Shape, outer: Shape, { top, left }: Padding, visit: (inner: number, outer: number) => void): void {
  const [height, width, channels] = inner as [number, number, number];
  const [outHeight, outWidth] = outer as [number, number, number];
  for (let i = 0; i < valuesOf(rows, inner); i++) {
    const [c, x, y] = [i % channels, Math.floor(i / channels) % width, Math.floor(i / channels / width) % height];
    const row = Math.floor(i / (height * width * channels));
    visit(i, ((row * outHeight + y + top) * outWidth + x + left) * channels + c);
  }
}
