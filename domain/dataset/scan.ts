import assert from "node:assert/strict";
import { CodedError } from "../errors.js";
import { FolderLayout, quoted } from "./layout.js";
import {
  type ClassCount,
  type FileEntry,
  type IgnoredFile,
  type ListedPicture,
  type ManifestTable,
  type ScanSummary,
  type SplitName,
  splitNames,
} from "./listing.js";
import { compareUtf8 } from "./utf8-order.js";

/** Ignored files that a summary names; the others are only counted. */
const IGNORED_NAMED_MAX = 20;

/** Names in one message. */
const NAMED_MAX = 5;

/**
 * Labels the files of a dataset in one pass, in bounded memory: classes and counts are kept, files are not.
 * `files` come in the order of their paths' UTF-8 bytes. With a manifest only what it names is a picture.
 * Iterate to the end first; then read `summary`.
 * @throws CodedError DATASET_INVALID from the iteration: no pictures, fewer than two classes, an empty class, mixed layouts, a manifest that names missing files.
 */
export function scanDataset(files: AsyncIterable<FileEntry>, location: string, manifest?: ManifestTable): DatasetScan {
  return new DatasetScan(files, location, manifest);
}

export class DatasetScan implements AsyncIterable<ListedPicture> {
  readonly #files: AsyncIterable<FileEntry>;
  readonly #location: string;
  readonly #manifest: ManifestTable | undefined;
  readonly #tally = new Tally();
  #previous: string | undefined;
  #summary: ScanSummary | undefined;

  constructor(files: AsyncIterable<FileEntry>, location: string, manifest: ManifestTable | undefined) {
    this.#files = files;
    this.#location = location;
    this.#manifest = manifest;
  }

  /** What was found. Only after the iteration has come to its end. */
  get summary(): ScanSummary {
    assert.ok(this.#summary, "the scan has been iterated to its end");
    return this.#summary;
  }

  [Symbol.asyncIterator](): AsyncGenerator<ListedPicture, void, undefined> {
    assert.ok(this.#previous === undefined && this.#summary === undefined, "a scan is iterated once");
    return this.#manifest === undefined ? this.#byFolders() : this.#byManifest(this.#manifest);
  }

  async *#byFolders(): AsyncGenerator<ListedPicture, void, undefined> {
    const layout = new FolderLayout(this.#location);
    for await (const file of this.#files) {
      this.#checkOrder(file.path);
      const placement = layout.place(file.path);
      if (placement.kind === "ignored") {
        this.#tally.ignore(file, placement.reason);
        if (placement.label !== undefined) this.#tally.noteFolder(placement.label, placement.isVisible);
        continue;
      }
      const { label, givenSplit } = placement;
      this.#tally.count(file, label, givenSplit);
      const listed = { uri: file.path, bytes: file.bytes, state: file.state, label };
      yield givenSplit === undefined ? listed : { ...listed, givenSplit };
    }
    const summary = this.#tally.summary(layout.decided ?? "CLASS_FOLDERS");
    this.#checkFolders(summary);
    checkClasses(summary, this.#location);
    this.#summary = summary;
  }

  /** Both sides are sorted, so that one pass joins them. */
  async *#byManifest(manifest: ManifestTable): AsyncGenerator<ListedPicture, void, undefined> {
    const missing: number[] = [];
    let row = 0;
    for await (const file of this.#files) {
      this.#checkOrder(file.path);
      while (row < manifest.uris.length && compareUtf8(manifest.uris[row] as string, file.path) < 0) missing.push(row++);
      if (manifest.uris[row] !== file.path) {
        if (!file.path.endsWith("/")) this.#tally.ignore(file, "not named in the manifest");
        continue;
      }
      const label = manifest.labels[manifest.labelOf[row] as number] as string;
      const givenSplit = manifest.splitOf && (splitNames[manifest.splitOf[row] as number] as SplitName);
      this.#tally.count(file, label, givenSplit);
      const listed = { uri: file.path, bytes: file.bytes, state: file.state, label };
      yield givenSplit === undefined ? listed : { ...listed, givenSplit };
      row++;
    }
    while (row < manifest.uris.length) missing.push(row++);
    if (missing.length > 0) {
      const first = missing
        .slice(0, NAMED_MAX)
        .map((index) => `line ${manifest.lineOf[index] ?? 0}: ${JSON.stringify(manifest.uris[index])}`);
      throw invalid(
        `${this.#location}: the manifest names ${missing.length} files that are not there (${first.join("; ")}${missing.length > NAMED_MAX ? "; …" : ""}); correct the manifest`,
      );
    }
    const summary = this.#tally.summary("MANIFEST");
    checkClasses(summary, this.#location);
    this.#summary = summary;
  }

  #checkOrder(path: string): void {
    assert.ok(
      this.#previous === undefined || compareUtf8(this.#previous, path) < 0,
      "files are listed once, in the order of their UTF-8 bytes",
    );
    this.#previous = path;
  }

  #checkFolders({ pictures, ignored }: ScanSummary): void {
    const expected = `${this.#location}: expected class folders (CLASS/x.jpg), splits (train/CLASS/x.jpg) or a manifest`;
    if (this.#tally.files === 0) throw invalid(`${expected}, found nothing in it`);
    if (pictures === 0) {
      const found = ignored.first.slice(0, NAMED_MAX).map(({ path, reason }) => `${JSON.stringify(path)} ${reason}`);
      throw invalid(
        `${expected}, found no picture in any class folder (${found.join("; ")}${ignored.count > NAMED_MAX ? "; …" : ""}); put the pictures of each class in a folder of its name`,
      );
    }
    const empty = this.#tally.emptyFolders();
    if (empty.length > 0) {
      throw invalid(
        `${this.#location}: expected pictures in every class folder, found none in ${quoted(empty.slice(0, NAMED_MAX))}${empty.length > NAMED_MAX ? ", …" : ""}; add pictures or remove the folder`,
      );
    }
  }
}

/** What a scan keeps: one entry a class. */
class Tally {
  files = 0;
  #pictures = 0;
  #bytes = 0;
  #ignored = 0;
  readonly #first: IgnoredFile[] = [];
  readonly #classes = new Map<string, { pictures: number; train: number; validation: number; test: number }>();
  /** Class folders seen through files that are no pictures: whether one of those files is visible. */
  readonly #folders = new Map<string, boolean>();

  ignore(file: FileEntry, reason: string): void {
    this.files++;
    this.#ignored++;
    if (this.#first.length < IGNORED_NAMED_MAX) this.#first.push({ path: file.path, reason });
  }

  noteFolder(label: string, hasVisible: boolean): void {
    this.#folders.set(label, hasVisible || (this.#folders.get(label) ?? false));
  }

  count(file: FileEntry, label: string, split: SplitName | undefined): void {
    this.files++;
    this.#pictures++;
    this.#bytes += file.bytes;
    let count = this.#classes.get(label);
    if (count === undefined) {
      count = { pictures: 0, train: 0, validation: 0, test: 0 };
      this.#classes.set(label, count);
    }
    count.pictures++;
    if (split !== undefined) count[split]++;
  }

  /** Folders at the place of a class that hold nothing visible: meant as a class and forgotten. One with other files only (docs/README.md) is just ignored. */
  emptyFolders(): string[] {
    return [...this.#folders].filter(([label, hasVisible]) => !hasVisible && !this.#classes.has(label)).map(([label]) => label);
  }

  summary(layout: ScanSummary["layout"]): ScanSummary {
    const classes = [...this.#classes.keys()].sort(compareUtf8);
    const counts = classes.map((label): ClassCount => {
      const { pictures, ...given } = this.#classes.get(label) ?? { pictures: 0, train: 0, validation: 0, test: 0 };
      return { label, pictures, given };
    });
    const givenSplits = splitNames.filter((split) => counts.some(({ given }) => given[split] > 0));
    return {
      layout,
      classes,
      counts,
      pictures: this.#pictures,
      bytes: this.#bytes,
      givenSplits,
      ignored: { count: this.#ignored, first: this.#first },
    };
  }
}

function checkClasses({ counts, classes, givenSplits }: ScanSummary, location: string): void {
  if (classes.length < 2) {
    throw invalid(
      `${location}: expected at least two classes, found ${classes.length === 0 ? "no picture" : `only ${quoted(classes)}`}; a classifier needs something to tell apart`,
    );
  }
  if (givenSplits.length === 0) return;
  if (!givenSplits.includes("train"))
    throw invalid(
      `${location}: expected a split "train", found only ${givenSplits.join(" and ")}; name the training pictures' split train`,
    );
  const holes = givenSplits.flatMap((split) =>
    counts.filter(({ given }) => given[split] === 0).map(({ label }) => `${JSON.stringify(label)} in ${split}`),
  );
  if (holes.length > 0) {
    throw invalid(
      `${location}: expected pictures of every class in every split, found none of ${holes.slice(0, NAMED_MAX).join(", ")}${holes.length > NAMED_MAX ? ", …" : ""}; add pictures or remove the class`,
    );
  }
}

function invalid(message: string): CodedError {
  return new CodedError("DATASET_INVALID", message);
}
