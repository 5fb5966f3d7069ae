import assert from "node:assert";
import { isAscii } from "node:buffer";
import { type Data, Field, makeData, RecordBatch, Schema, Struct, tableFromIPC, tableToIPC, Table, Utf8 } from "apache-arrow";
import { CodedError } from "../../domain/errors.js";

/** Names a kind of Arrow file and its version in the schema's metadata: every Arrow file of graft says what it is. */
export interface ArrowFormat {
  readonly name: string;
  readonly version: number;
}

/** One column: no nulls, all rows in one chunk. */
export interface Column {
  readonly name: string;
  readonly data: Data;
}

/** An Arrow IPC file of one record batch. Equal arguments give equal bytes. */
export function encodeArrowFile(
  format: ArrowFormat,
  metadata: readonly (readonly [key: string, value: string])[],
  columns: readonly Column[],
): Uint8Array {
  const rows = columns[0]?.data.length ?? 0;
  assert(columns.every(({ data }) => data.length === rows && data.nullCount === 0));
  const fields = columns.map(({ name, data }) => new Field(name, data.type, false));
  const entries: [string, string][] = [
    ["graft.format", format.name],
    ["graft.formatVersion", `${format.version}`],
    ...metadata.map(([key, value]) => [`graft.${key}`, value] as [string, string]),
  ];
  const schema = new Schema(fields, new Map(entries));
  const children = columns.map(({ data }) => data);
  return tableToIPC(
    new Table(schema, [new RecordBatch(schema, makeData({ type: new Struct(fields), length: rows, nullCount: 0, children }))]),
    "file",
  );
}

/** An Arrow file of the expected format; every accessor throws CodedError OBJECT_CORRUPT where the file does not hold what it should. */
export class ArrowFile {
  readonly rows: number;
  readonly #table: Table;
  readonly #name: string;

  /** @throws CodedError STORE_FORMAT_NEWER for a newer version, OBJECT_CORRUPT for anything else that is not `format`. */
  constructor(bytes: Uint8Array, format: ArrowFormat) {
    this.#name = format.name;
    this.#table = readTable(bytes, format.name);
    const found = this.#table.schema.metadata.get("graft.format");
    if (found !== format.name) this.corrupt(`expected an Arrow file with graft.format ${format.name}, found ${found ?? "none"}`);
    const version = this.wholeNumber("formatVersion");
    if (version > format.version) {
      throw new CodedError(
        "STORE_FORMAT_NEWER",
        `${format.name} has version ${version}; this graft reads up to version ${format.version}. Use a newer graft`,
        { version },
      );
    }
    if (version !== format.version) this.corrupt(`version ${version} does not exist`);
    if (this.#table.batches.length !== 1) this.corrupt(`expected one record batch, found ${this.#table.batches.length}`);
    this.rows = this.#table.numRows;
  }

  corrupt(problem: string): never {
    throw new CodedError("OBJECT_CORRUPT", `${this.#name}: ${problem}; it has to be made again`);
  }

  text(key: string): string {
    return this.#table.schema.metadata.get(`graft.${key}`) ?? this.corrupt(`metadata graft.${key} is missing`);
  }

  wholeNumber(key: string): number {
    const text = this.text(key);
    const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
    return Number.isNaN(value) ? this.corrupt(`metadata graft.${key} is not a whole number: ${JSON.stringify(text)}`) : value;
  }

  /** How a column's type prints. */
  typeOf(name: string): string {
    return String(this.#table.getChild(name)?.type ?? this.corrupt(`column ${name} is missing`));
  }

  /** The values of a column whose type prints as `type` (`FixedSizeBinary[32]`, `Utf8`, …), without nulls. */
  column(name: string, type: string): Data {
    const vector = this.#table.getChild(name);
    if (vector === null) return this.corrupt(`column ${name} is missing`);
    const found = String(vector.type);
    if (found !== type) return this.corrupt(`column ${name} has type ${found}, expected ${type}`);
    if (vector.nullCount > 0) return this.corrupt(`column ${name} has ${vector.nullCount} empty rows, expected none`);
    const data: Data | undefined = vector.data[0];
    if (data === undefined || data.length !== this.rows || data.offset !== 0)
      return this.corrupt(`column ${name} does not have ${this.rows} rows`);
    return data;
  }

  /** Values of a column of fixed-size elements as the typed array that lies in the file, `count` of them. */
  values<T extends { readonly length: number; subarray(begin: number, end: number): T }>(name: string, type: string, count: number): T {
    return this.#exactly(name, this.column(name, type).values as T, count);
  }

  /** As `values`, of a column of fixed-size lists. */
  listValues<T extends { readonly length: number; subarray(begin: number, end: number): T }>(name: string, type: string, count: number): T {
    return this.#exactly(name, this.column(name, type).children[0]?.values as T, count);
  }

  #exactly<T extends { readonly length: number; subarray(begin: number, end: number): T }>(
    name: string,
    values: T | undefined,
    count: number,
  ): T {
    if (values === undefined || values.length < count)
      return this.corrupt(`column ${name} has ${values?.length ?? 0} values, expected ${count}`);
    return values.subarray(0, count);
  }

  /** The byte ranges of a column of variable length (`Utf8`, `Binary`), as views on the file. */
  ranges(name: string, type: "Utf8" | "Binary"): Uint8Array[] {
    const { values, valueOffsets } = this.column(name, type) as { readonly values: Uint8Array; readonly valueOffsets: Int32Array };
    return Array.from({ length: this.rows }, (_, row) => {
      const [begin = -1, end = -1] = valueOffsets.subarray(row, row + 2);
      if (begin < 0 || end < begin || end > values.length)
        this.corrupt(`column ${name}, row ${row} lies at ${begin} to ${end} of ${values.length} bytes`);
      return values.subarray(begin, end);
    });
  }

  strings(name: string): string[] {
    const { values, valueOffsets } = this.column(name, "Utf8") as { readonly values: Uint8Array; readonly valueOffsets: Int32Array };
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    // Arrow's own reading drops a byte order mark and replaces what is not UTF-8; names are kept byte by byte.
    const decoder = isAscii(bytes) ? undefined : new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return Array.from({ length: this.rows }, (_, row) => {
      const begin = valueOffsets[row] ?? -1;
      const end = valueOffsets[row + 1] ?? -1;
      if (begin < 0 || end < begin || end > bytes.length)
        this.corrupt(`column ${name}, row ${row} lies at ${begin} to ${end} of ${bytes.length} bytes`);
      if (decoder === undefined) return bytes.toString("latin1", begin, end);
      try {
        return decoder.decode(bytes.subarray(begin, end));
      } catch {
        return this.corrupt(`column ${name}, row ${row} is not UTF-8`);
      }
    });
  }
}

/** Strings as a column; unpaired surrogates have no UTF-8 and are a mistake of the caller. */
export function stringColumn(name: string, values: readonly string[]): Column {
  const offsets = new Int32Array(values.length + 1);
  const type = new Utf8();
  let bytes = 0;
  const joined = values.join("");
  if (Buffer.byteLength(joined) === joined.length) {
    // All is ASCII, as most names are.
    for (let row = 0; row < values.length; row++) offsets[row + 1] = bytes += (values[row] as string).length;
    const data = new Uint8Array(bytes);
    Buffer.from(data.buffer).write(joined, "latin1");
    return { name, data: makeData({ type, length: values.length, nullCount: 0, valueOffsets: offsets, data }) };
  }
  for (const [row, value] of values.entries()) {
    assert(!/\p{Surrogate}/u.test(value), `${name} ${JSON.stringify(value)} is not Unicode text`);
    bytes += Buffer.byteLength(value);
    offsets[row + 1] = bytes;
  }
  const data = new Uint8Array(bytes);
  const target = Buffer.from(data.buffer);
  for (const [row, value] of values.entries()) target.write(value, offsets[row] as number);
  return { name, data: makeData({ type, length: values.length, nullCount: 0, valueOffsets: offsets, data }) };
}

function readTable(bytes: Uint8Array, what: string): Table {
  try {
    return tableFromIPC(bytes);
  } catch (error) {
    throw new CodedError("OBJECT_CORRUPT", `${what}: not an Arrow file (${bytes.length} bytes); it has to be made again`, {}, error);
  }
}
