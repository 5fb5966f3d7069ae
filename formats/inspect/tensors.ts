import { elementCount, type Tensor } from "../../domain/network/network.js";
import { tensorStatistics } from "../../domain/training/histogram.js";

/** `[3, 3, 16]` */
export function shapeText(shape: readonly (number | string | null)[]): string {
  return `[${shape.map((length) => length ?? "?").join(", ")}]`;
}

/** One line per tensor: name, shape and what its values look like. */
export function tensorLines(tensors: ReadonlyMap<string, Tensor>): string[] {
  const width = Math.min(
    60,
    [...tensors.keys()].reduce((longest, name) => Math.max(longest, name.length), 0),
  );
  return [...tensors].map(([name, { shape, data }]) => {
    const { count, nonFinite, mean, deviation, minimum, maximum } = tensorStatistics(data);
    const values =
      count === 0
        ? "no finite value"
        : `mean ${number(mean)}, deviation ${number(deviation)}, from ${number(minimum)} to ${number(maximum)}`;
    return `  ${name.padEnd(width)}  ${shapeText(shape)}  ${values}${nonFinite === 0 ? "" : `, ${nonFinite} NOT FINITE`}`;
  });
}

export function parameterTotal(tensors: ReadonlyMap<string, Tensor>): number {
  return [...tensors.values()].reduce((total, { shape }) => total + elementCount(shape), 0);
}

/** Four significant digits. */
export function number(value: number): string {
  return String(Number(value.toPrecision(4)));
}
