import { CodedError } from "../../domain/errors.js";
import { maskedCrc32c } from "./crc32c.js";

/**
 * TFRecord framing (`tensorflow/core/lib/io/record_writer.cc`). A record is: length as little-endian uint64, masked CRC-32C of these 8 bytes as uint32,
 * the data, masked CRC-32C of the data as uint32.
 */
const headerBytes = 12;
const trailerBytes = 4;

/** One event is some kilobytes; a longer record is damage or no event file. */
const recordBytesMax = 64 * 1024 * 1024;

export function encodeRecords(records: readonly Uint8Array[]): Uint8Array {
  const file = new Uint8Array(records.reduce((total, record) => total + headerBytes + record.length + trailerBytes, 0));
  const view = new DataView(file.buffer);
  let at = 0;
  for (const record of records) {
    view.setUint32(at, record.length, true);
    view.setUint32(at + 8, maskedCrc32c(file.subarray(at, at + 8)), true);
    file.set(record, at + headerBytes);
    view.setUint32(at + headerBytes + record.length, maskedCrc32c(record), true);
    at += headerBytes + record.length + trailerBytes;
  }
  return file;
}

/**
 * The data of every record, as views of `file`.
 * @throws CodedError FILE_FORMAT_INVALID at the first record that is cut off or whose checksum does not hold.
 */
export function decodeRecords(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const records: Uint8Array[] = [];
  let at = 0;
  while (at < file.length) {
    if (file.length - at < headerBytes)
      throw damaged(records.length, at, `${headerBytes} bytes of header expected, ${file.length - at} left`);
    if (view.getUint32(at + 8, true) !== maskedCrc32c(file.subarray(at, at + 8)))
      throw damaged(records.length, at, "the checksum of its length does not hold");
    const length = view.getUint32(at, true);
    if (view.getUint32(at + 4, true) !== 0 || length > recordBytesMax)
      throw damaged(records.length, at, `its length is above ${recordBytesMax} bytes`);
    const end = at + headerBytes + length;
    if (end + trailerBytes > file.length)
      throw damaged(records.length, at, `${length} bytes of data expected, ${file.length - at - headerBytes} left`);
    const record = file.subarray(at + headerBytes, end);
    if (view.getUint32(end, true) !== maskedCrc32c(record)) throw damaged(records.length, at, "the checksum of its data does not hold");
    records.push(record);
    at = end + trailerBytes;
  }
  return records;
}

function damaged(index: number, offset: number, problem: string): CodedError {
  return new CodedError(
    "FILE_FORMAT_INVALID",
    `event file: record ${index} at byte ${offset}: ${problem}; the file is cut off or damaged, export it again`,
  );
}
