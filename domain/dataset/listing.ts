/** One file as a dataset source lists it (platform/dataset-source). */
export interface FileEntry {
  /** `/`-separated, relative to the source. A path that ends in `/` is an empty folder. */
  readonly path: string;
  readonly bytes: number;
  /** Changes whenever the content may have changed. */
  readonly state: string;
}

export type SplitName = "train" | "validation" | "test";

/** Splits in the order of their numbers in a sample table: train 0, validation 1, test 2. */
export const splitNames = ["train", "validation", "test"] as const satisfies readonly SplitName[];

const splitWords: ReadonlyMap<string, SplitName> = new Map([
  ["train", "train"],
  ["training", "train"],
  ["validation", "validation"],
  ["val", "validation"],
  ["test", "test"],
]);

/** The split that a folder's name or a manifest's word means, in any case: `train`, `training`, `validation`, `val`, `test`. */
export function splitOfWord(word: string): SplitName | undefined {
  return splitWords.get(word.toLowerCase());
}

/** One picture with its label, as the listing of a job holds it. */
export interface ListedPicture {
  /** Path relative to the source, exactly as the source gives it. */
  readonly uri: string;
  readonly bytes: number;
  readonly state: string;
  readonly label: string;
  /** Present where the dataset gives its own splits. */
  readonly givenSplit?: SplitName;
}

/** CLASS_FOLDERS: `CLASS/x.jpg`. GIVEN_SPLITS: `train/CLASS/x.jpg`. MANIFEST: a table names pictures and labels. */
export type DatasetLayout = "CLASS_FOLDERS" | "GIVEN_SPLITS" | "MANIFEST";

export interface ClassCount {
  readonly label: string;
  readonly pictures: number;
  /** All 0 where the dataset gives no splits. */
  readonly given: Readonly<Record<SplitName, number>>;
}

export interface ScanSummary {
  readonly layout: DatasetLayout;
  /** In the order of the labels' UTF-8 bytes: class number = index. */
  readonly classes: readonly string[];
  /** One per class, in the same order. */
  readonly counts: readonly ClassCount[];
  readonly pictures: number;
  /** Sum of the pictures' file lengths. */
  readonly bytes: number;
  /** The splits that the dataset gives; empty where they are drawn by content. */
  readonly givenSplits: readonly SplitName[];
  readonly ignored: { readonly count: number; readonly first: readonly IgnoredFile[] };
}

export interface IgnoredFile {
  readonly path: string;
  readonly reason: string;
}

/** What a manifest says, in columns, sorted by the UTF-8 bytes of the uris. */
export interface ManifestTable {
  readonly uris: readonly string[];
  readonly labels: readonly string[];
  /** Index into `labels`, one per uri. */
  readonly labelOf: Uint32Array;
  /** Index into `splitNames`, one per uri; undefined where the manifest has no splits. */
  readonly splitOf: Uint8Array | undefined;
  /** Line in the manifest (from 1), one per uri. */
  readonly lineOf: Uint32Array;
}
