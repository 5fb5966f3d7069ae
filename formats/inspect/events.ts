import { maskedCrc32c } from "../tensorboard/crc32c.js";
import { decodeEventFile } from "../tensorboard/event-file.js";
import { number } from "./tensors.js";

/** The header of a first record whose own checksum holds. */
export function isEventFile(bytes: Uint8Array): boolean {
  return bytes.length >= 12 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true) === maskedCrc32c(bytes.subarray(0, 8));
}

export function inspectEvents(bytes: Uint8Array): string[] {
  const events = decodeEventFile(bytes);
  const series = new Map<string, { kind: string; count: number; lastStep: number; last: string }>();
  for (const { step, scalars, histograms } of events) {
    const add = (tag: string, kind: string, last: string): void =>
      void series.set(tag, { kind, count: (series.get(tag)?.count ?? 0) + 1, lastStep: step, last });
    for (const [tag, value] of scalars) add(tag, "scalar", number(value));
    for (const [tag, { count, minimum, maximum }] of histograms)
      add(tag, "histogram", `${count} values from ${number(minimum)} to ${number(maximum)}`);
  }
  const width = [...series.keys()].reduce((longest, tag) => Math.max(longest, tag.length), 0);
  return [
    `TensorBoard event file: ${events.length} events; every checksum holds`,
    ...[...series].map(
      ([tag, { kind, count, lastStep, last }]) => `  ${tag.padEnd(width)}  ${kind}, ${count} points, at step ${lastStep}: ${last}`,
    ),
  ];
}
