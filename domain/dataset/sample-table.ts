import assert from "node:assert/strict";
import { CodedError } from "../errors.js";
import type { ImageId } from "../features/feature-spec.js";
import { isSha256Hex } from "../features/sha256.js";
import { quoted } from "./layout.js";
import { type SplitName, splitNames } from "./listing.js";
import { NOT_GIVEN, SampleRows } from "./sample-rows.js";
import { assignedSplit, type SplitSpec } from "./split.js";
import { compareUtf8 } from "./utf8-order.js";

/** One picture that was read and decoded, as commits record it. */
export interface SampleRow {
  readonly imageId: ImageId;
  readonly uri: string;
  readonly label: string;
  readonly givenSplit?: SplitName;
}

/**
 * What training works from: one row per image id, sorted by image id. It depends on the set of rows only: listing order, task borders and shard layout never show.
 */
export interface SampleTable {
  /** Class number = index; sorted by UTF-8 bytes. */
  readonly classes: readonly string[];
  /** Rows. */
  readonly length: number;
  readonly counts: Readonly<Record<SplitName, number>>;
  /** Rows per class, in the order of `classes`. */
  readonly perClass: Readonly<Record<SplitName, readonly number[]>>;
  /** Copies that were folded into another row of the same id and label. */
  readonly duplicates: number;
  /** Image ids that stand under several labels; left out. */
  readonly conflicts: Findings<{ readonly imageId: ImageId; readonly places: readonly { readonly uri: string; readonly label: string }[] }>;
  /** Image ids that stand in several given splits; kept in the evaluation split (test before validation before train). */
  readonly splitOverlaps: Findings<{ readonly imageId: ImageId; readonly keptIn: SplitName; readonly uris: readonly string[] }>;
  /** Classes without a picture in a split that has pictures of other classes. */
  readonly missing: readonly { readonly label: string; readonly split: SplitName }[];
  /** The rows from `from` to before `to`. */
  readonly rows: (from: number, to: number) => SampleColumns;
}

/** Rows of a sample table, column by column. */
export interface SampleColumns {
  /** `[rows, 32]`, ascending. */
  readonly ids: Uint8Array;
  /** `[rows]`: class numbers. */
  readonly labels: Int32Array;
  /** `[rows]`: index into `splitNames`. */
  readonly splits: Uint8Array;
  /** `[rows]`: of several copies the first in the order of UTF-8 bytes. */
  readonly uris: readonly string[];
}

/** All are counted, the first in the order of image ids are named. */
export interface Findings<T> {
  readonly count: number;
  readonly first: readonly T[];
}

/** Image ids that a table names for each kind of finding, and places of each. */
const FINDINGS_NAMED_MAX = 100;
const PLACES_NAMED_MAX = 20;

/** Rows of the table that are made between two steps: some milliseconds. */
const ROWS_A_STEP = 4_096;

/** Collects rows, then makes the table of them. */
export class SampleTableBuilder {
  readonly #classes: readonly string[];
  readonly #numberOf: ReadonlyMap<string, number>;
  readonly #rows: SampleRows;

  /**
   * `classes`: those of the scan (`ScanSummary.classes`), so that a class whose every picture was rejected is missed and not forgotten.
   * `capacity`: how many rows are expected; memory is taken once for them.
   */
  constructor(classes: readonly string[], capacity = 1_024) {
    for (let index = 1; index < classes.length; index++)
      assert.ok(compareUtf8(classes[index - 1] as string, classes[index] as string) < 0, "classes are sorted");
    this.#classes = classes;
    this.#numberOf = new Map(classes.map((label, number) => [label, number]));
    this.#rows = new SampleRows(capacity);
  }

  add({ imageId, ...row }: SampleRow): void {
    assert.ok(isSha256Hex(imageId), "an image id has 64 hex digits");
    this.addBytes(Buffer.from(imageId, "hex"), 0, row);
  }

  /** The same with the image id at `ids[at .. at + 31]`. */
  addBytes(ids: Uint8Array, at: number, { uri, label, givenSplit }: Omit<SampleRow, "imageId">): void {
    const number = this.#numberOf.get(label);
    assert.ok(number !== undefined, `the label of ${uri} is one of the scan's classes`);
    this.#rows.push(ids, at, number, givenSplit === undefined ? NOT_GIVEN : splitNames.indexOf(givenSplit), uri);
  }

  /** As `buildInSteps`, at once. */
  build(givenSplits: readonly SplitName[], split: SplitSpec): SampleTable {
    const steps = this.buildInSteps(givenSplits, split);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /**
   * @param givenSplits `ScanSummary.givenSplits`
   * Yields after some milliseconds of work, so that others can have their turn; a table of millions takes a minute. Rows must not be added any more.
   * @throws CodedError DATASET_INVALID when a class has no picture to train on.
   */
  *buildInSteps(givenSplits: readonly SplitName[], split: SplitSpec): Generator<void, SampleTable> {
    const rows = this.#rows;
    const order = yield* rows.order();
    const size = order.length;
    // The rows of the table take the place of those that were looked at.
    const kept = order;
    const splits = new Uint8Array(size);
    let length = 0;
    let untilStep = ROWS_A_STEP;
    const counts = { train: 0, validation: 0, test: 0 };
    const conflicts = { count: 0, first: [] as SampleTable["conflicts"]["first"][number][] };
    const splitOverlaps = { count: 0, first: [] as SampleTable["splitOverlaps"]["first"][number][] };
    const perClass = splitNames.map(() => new Uint32Array(this.#classes.length));
    let duplicates = 0;

    // Rows of one id stand together, the first uri in front.
    for (let start = 0, end = 0; start < size; start = end) {
      if (--untilStep === 0) {
        untilStep = ROWS_A_STEP;
        yield;
      }
      const first = order[start] as number;
      end = start + 1;
      while (end < size && rows.hasSameId(first, order[end] as number)) end++;
      const group = order.subarray(start, end);
      const imageId = rows.idHex(first);
      const label = rows.label(first);

      if (group.some((row) => rows.label(row) !== label)) {
        const places = (): { uri: string; label: string }[] =>
          Array.from(group.subarray(0, PLACES_NAMED_MAX), (row) => ({
            uri: rows.uri(row),
            label: this.#classes[rows.label(row)] as string,
          }));
        if (conflicts.count++ < FINDINGS_NAMED_MAX) conflicts.first.push({ imageId, places: places() });
        continue;
      }
      duplicates += group.length - 1;

      const given = this.#evaluationFirst(group);
      if (group.some((row) => rows.given(row) !== rows.given(first))) {
        assert.ok(given !== undefined, "rows have given splits or none has");
        const found = Array.from(group.subarray(0, PLACES_NAMED_MAX), (row) => rows.uri(row));
        if (splitOverlaps.count++ < FINDINGS_NAMED_MAX) splitOverlaps.first.push({ imageId, keptIn: given, uris: found });
      }

      const name = assignedSplit(imageId, given, givenSplits, split);
      const splitNumber = splitNames.indexOf(name);
      const perLabel = perClass[splitNumber] as Uint32Array;
      perLabel[label] = (perLabel[label] as number) + 1;
      kept[length] = first;
      splits[length++] = splitNumber;
      counts[name]++;
    }

    const missing = splitNames.flatMap((name, number) =>
      counts[name] === 0 && name !== "train"
        ? []
        : this.#classes.filter((_, label) => perClass[number]?.[label] === 0).map((label) => ({ label, split: name })),
    );
    assertTrainable(missing, conflicts.count);
    return {
      classes: this.#classes,
      length,
      counts,
      perClass: Object.fromEntries(splitNames.map((name, number) => [name, [...(perClass[number] ?? [])]])) as Record<SplitName, number[]>,
      duplicates,
      conflicts,
      splitOverlaps,
      missing,
      rows: (from, to) => columnsOf(rows, kept.subarray(from, Math.min(to, length)), splits.slice(from, Math.min(to, length))),
    };
  }

  #evaluationFirst(group: Uint32Array): SplitName | undefined {
    let highest = -1;
    for (const row of group) {
      const given = this.#rows.given(row);
      if (given !== NOT_GIVEN) highest = Math.max(highest, given);
    }
    return highest < 0 ? undefined : splitNames[highest];
  }
}

function columnsOf(rows: SampleRows, kept: Uint32Array, splits: Uint8Array): SampleColumns {
  return {
    ids: rows.idsOf(kept),
    labels: Int32Array.from(kept, (row) => rows.label(row)),
    splits,
    uris: Array.from(kept, (row) => rows.uri(row)),
  };
}

function assertTrainable(missing: SampleTable["missing"], conflictCount: number): void {
  const untrainable = missing.filter(({ split }) => split === "train").map(({ label }) => label);
  if (untrainable.length === 0) return;
  const named = `${quoted(untrainable.slice(0, 5))}${untrainable.length > 5 ? ", …" : ""}`;
  const because = conflictCount > 0 ? ` (${conflictCount} pictures that stand under several labels were left out)` : "";
  throw new CodedError(
    "DATASET_INVALID",
    `expected at least one picture of every class to train on, found none of ${named}${because}; add pictures of it, raise the train percent or choose another split seed`,
    {
      classes: untrainable,
    },
  );
}
