import assert from "node:assert/strict";
import { CodedError } from "../errors.js";
import type { ImageId } from "../features/feature-spec.js";
import { IMAGE_ID_BYTES as ID_BYTES } from "../features/image-ids.js";
import { quoted } from "./layout.js";
import { type SplitName, splitNames } from "./listing.js";
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
  /** `[rows, 32]`, ascending. */
  readonly ids: Uint8Array;
  /** `[rows]`: class numbers. */
  readonly labels: Int32Array;
  /** `[rows]`: index into `splitNames`. */
  readonly splits: Uint8Array;
  /** `[rows]`: of several copies the first in the order of UTF-8 bytes. */
  readonly uris: readonly string[];
  readonly counts: Readonly<Record<SplitName, number>>;
  /** Copies that were folded into another row of the same id and label. */
  readonly duplicates: number;
  /** Image ids that stand under several labels; left out. */
  readonly conflicts: Findings<{ readonly imageId: ImageId; readonly places: readonly { readonly uri: string; readonly label: string }[] }>;
  /** Image ids that stand in several given splits; kept in the evaluation split (test before validation before train). */
  readonly splitOverlaps: Findings<{ readonly imageId: ImageId; readonly keptIn: SplitName; readonly uris: readonly string[] }>;
  /** Classes without a picture in a split that has pictures of other classes. */
  readonly missing: readonly { readonly label: string; readonly split: SplitName }[];
}

/** All are counted, the first in the order of image ids are named. */
export interface Findings<T> {
  readonly count: number;
  readonly first: readonly T[];
}

/** Image ids that a table names for each kind of finding, and places of each. */
const FINDINGS_NAMED_MAX = 100;
const PLACES_NAMED_MAX = 20;

const NOT_GIVEN = 255;

/** Collects rows in columns: about 40 bytes a row and its uri. */
export class SampleTableBuilder {
  readonly #classes: readonly string[];
  readonly #numberOf: ReadonlyMap<string, number>;
  #ids = Buffer.alloc(1_024 * ID_BYTES);
  #labels = new Int32Array(1_024);
  #given = new Uint8Array(1_024);
  readonly #uris: string[] = [];

  /** `classes`: those of the scan (`ScanSummary.classes`), so that a class whose every picture was rejected is missed and not forgotten. */
  constructor(classes: readonly string[]) {
    for (let index = 1; index < classes.length; index++)
      assert.ok(compareUtf8(classes[index - 1] as string, classes[index] as string) < 0, "classes are sorted");
    this.#classes = classes;
    this.#numberOf = new Map(classes.map((label, number) => [label, number]));
  }

  add({ imageId, uri, label, givenSplit }: SampleRow): void {
    const row = this.#uris.length;
    if (row === this.#labels.length) this.#grow();
    const written = this.#ids.write(imageId, row * ID_BYTES, ID_BYTES, "hex");
    assert.ok(imageId.length === 2 * ID_BYTES && written === ID_BYTES, "an image id has 64 hex digits");
    const number = this.#numberOf.get(label);
    assert.ok(number !== undefined, `the label of ${uri} is one of the scan's classes`);
    this.#labels[row] = number;
    this.#given[row] = givenSplit === undefined ? NOT_GIVEN : splitNames.indexOf(givenSplit);
    this.#uris.push(uri);
  }

  /**
   * @param givenSplits `ScanSummary.givenSplits`
   * @throws CodedError DATASET_INVALID when a class has no picture to train on.
   */
  build(givenSplits: readonly SplitName[], split: SplitSpec): SampleTable {
    const order = this.#order();
    const size = order.length;
    const ids = new Uint8Array(size * ID_BYTES);
    const labels = new Int32Array(size);
    const splits = new Uint8Array(size);
    const uris: string[] = [];
    const counts = { train: 0, validation: 0, test: 0 };
    const conflicts = { count: 0, first: [] as SampleTable["conflicts"]["first"][number][] };
    const splitOverlaps = { count: 0, first: [] as SampleTable["splitOverlaps"]["first"][number][] };
    const perClass = splitNames.map(() => new Uint32Array(this.#classes.length));
    let duplicates = 0;

    // Rows of one id stand together, the first uri in front.
    for (let start = 0, end = 0; start < size; start = end) {
      const first = order[start] as number;
      end = start + 1;
      while (end < size && this.#compareIds(first, order[end] as number) === 0) end++;
      const group = order.subarray(start, end);
      const imageId = this.#ids.toString("hex", first * ID_BYTES, (first + 1) * ID_BYTES);
      const label = this.#labels[first] as number;

      if (group.some((row) => this.#labels[row] !== label)) {
        const places = (): { uri: string; label: string }[] =>
          Array.from(group.subarray(0, PLACES_NAMED_MAX), (row) => ({
            uri: this.#uris[row] as string,
            label: this.#classes[this.#labels[row] as number] as string,
          }));
        if (conflicts.count++ < FINDINGS_NAMED_MAX) conflicts.first.push({ imageId, places: places() });
        continue;
      }
      duplicates += group.length - 1;

      const given = this.#evaluationFirst(group);
      if (group.some((row) => this.#given[row] !== this.#given[first])) {
        assert.ok(given !== undefined, "rows have given splits or none has");
        const found = Array.from(group.subarray(0, PLACES_NAMED_MAX), (row) => this.#uris[row] as string);
        if (splitOverlaps.count++ < FINDINGS_NAMED_MAX) splitOverlaps.first.push({ imageId, keptIn: given, uris: found });
      }

      const kept = assignedSplit(imageId, given, givenSplits, split);
      const splitNumber = splitNames.indexOf(kept);
      const perLabel = perClass[splitNumber] as Uint32Array;
      perLabel[label] = (perLabel[label] as number) + 1;
      ids.set(this.#ids.subarray(first * ID_BYTES, (first + 1) * ID_BYTES), uris.length * ID_BYTES);
      labels[uris.length] = label;
      splits[uris.length] = splitNumber;
      uris.push(this.#uris[first] as string);
      counts[kept]++;
    }

    const missing = splitNames.flatMap((name, number) =>
      counts[name] === 0 && name !== "train"
        ? []
        : this.#classes.filter((_, label) => perClass[number]?.[label] === 0).map((label) => ({ label, split: name })),
    );
    assertTrainable(missing, conflicts.count);
    const length = uris.length;
    return {
      classes: this.#classes,
      length,
      ids: ids.slice(0, length * ID_BYTES),
      labels: labels.slice(0, length),
      splits: splits.slice(0, length),
      uris,
      counts,
      duplicates,
      conflicts,
      splitOverlaps,
      missing,
    };
  }

  /** Row numbers by image id, then uri. The first six bytes of the ids, as numbers, settle nearly every comparison. */
  #order(): Uint32Array {
    const size = this.#uris.length;
    const prefixes = new Float64Array(size);
    for (let row = 0; row < size; row++) prefixes[row] = this.#ids.readUIntBE(row * ID_BYTES, 6);
    return new Uint32Array(size)
      .map((_, row) => row)
      .sort(
        (a, b) =>
          (prefixes[a] as number) - (prefixes[b] as number) ||
          this.#compareIds(a, b) ||
          compareUtf8(this.#uris[a] as string, this.#uris[b] as string),
      );
  }

  #compareIds(a: number, b: number): number {
    return this.#ids.compare(this.#ids, b * ID_BYTES, (b + 1) * ID_BYTES, a * ID_BYTES, (a + 1) * ID_BYTES);
  }

  #evaluationFirst(rows: Uint32Array): SplitName | undefined {
    let highest = -1;
    for (const row of rows) {
      const given = this.#given[row] as number;
      if (given !== NOT_GIVEN) highest = Math.max(highest, given);
    }
    return highest < 0 ? undefined : splitNames[highest];
  }

  #grow(): void {
    const capacity = this.#labels.length * 2;
    const ids = Buffer.alloc(capacity * ID_BYTES);
    ids.set(this.#ids);
    const labels = new Int32Array(capacity);
    labels.set(this.#labels);
    const given = new Uint8Array(capacity);
    given.set(this.#given);
    [this.#ids, this.#labels, this.#given] = [ids, labels, given];
  }
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
