import { CodedError } from "../errors.js";
import { type SplitName, splitOfWord } from "./listing.js";

/** What one file is in a folder of classes. */
export type Placement =
  | { readonly kind: "picture"; readonly label: string; readonly givenSplit?: SplitName }
  | {
      readonly kind: "ignored";
      readonly reason: string;
      /** The class folder that it lies in, if any. */
      readonly label?: string;
      readonly isVisible: boolean;
    };

/** Ends of names that nobody means as a picture. All else is tried, so that a wrong file is rejected with a reason and never overlooked. */
const otherKinds = new Set(
  "txt md rst csv tsv json jsonl xml yaml yml html htm css js py ipynb log db ini lnk url zip tar gz tgz 7z rar doc docx xls xlsx mat npy npz pkl h5 tfrecord pt sh bat".split(
    " ",
  ),
);

/** Ends of names that are pictures; only used to word what lies outside of a class folder. */
const pictureKinds = new Set(["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif"]);

/**
 * Tells classes and splits from paths that come in the order of their UTF-8 bytes, one by one.
 *
 * The first picture below a folder decides: where it is `train/CLASS/…` (or another split folder), folders of the first level are splits, else they are classes.
 * So classes may be called "train" and "bus", as long as their pictures lie directly in them. A later folder that does not fit is an error, never a guess.
 */
export class FolderLayout {
  #decided: "CLASS_FOLDERS" | "GIVEN_SPLITS" | undefined;
  readonly #location: string;
  #folder = readFolder("");
  /** First-level folders that took part so far, for messages. */
  readonly #seen = new Set<string>();

  constructor(location: string) {
    this.#location = location;
  }

  get decided(): "CLASS_FOLDERS" | "GIVEN_SPLITS" | undefined {
    return this.#decided;
  }

  place(path: string): Placement {
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1);
    if (slash < 0) return loose(name);
    const folder = path.slice(0, slash);
    if (folder !== this.#folder.path) this.#folder = readFolder(folder); // paths are sorted, so that this happens once a folder
    const { depth, top, second, split, isHidden } = this.#folder;
    if (isHidden) return { kind: "ignored", reason: "lies in a hidden folder", isVisible: false };

    const isPicture = name !== "" && !isLitter(name) && !otherKinds.has(kindOf(name));
    if (isPicture) this.#decide(top, split, depth);
    const givesSplits = this.#decided === "GIVEN_SPLITS" || (this.#decided === undefined && split !== undefined);
    if (givesSplits && depth === 1) return loose(name);
    const label = givesSplits ? second : top;
    if (isPicture) return split !== undefined && givesSplits ? { kind: "picture", label, givenSplit: split } : { kind: "picture", label };
    if (name === "") return { kind: "ignored", reason: "empty folder", label, isVisible: false };
    if (isLitter(name)) return { kind: "ignored", reason: "hidden file", label, isVisible: false };
    return { kind: "ignored", reason: `.${kindOf(name)} is no picture`, label, isVisible: true };
  }

  /** @param depth Folders above the picture. */
  #decide(top: string, split: SplitName | undefined, depth: number): void {
    const isNew = !this.#seen.has(top);
    if (!isNew) return;
    const looksLike = split !== undefined && depth > 1 ? "GIVEN_SPLITS" : "CLASS_FOLDERS";
    if (this.#decided === "GIVEN_SPLITS" && split !== undefined && depth === 1) return; // a stray picture beside the class folders of a split
    this.#seen.add(top);
    this.#decided ??= looksLike;
    if (this.#decided === looksLike) return;
    const others = [...this.#seen].filter((folder) => folder !== top).slice(0, 5);
    throw new CodedError(
      "DATASET_INVALID",
      `${this.#location}: expected either class folders (CLASS/x.jpg) or splits (train/CLASS/x.jpg), found both: ${quoted([top])} beside ${quoted(others)}; ` +
        `move one of them away or name the pictures in a manifest`,
    );
  }
}

/** What the folder of a file says about it. */
interface Folder {
  readonly path: string;
  readonly depth: number;
  readonly top: string;
  readonly second: string;
  readonly split: SplitName | undefined;
  readonly isHidden: boolean;
}

function readFolder(path: string): Folder {
  const segments = path.split("/");
  const [top = "", second = ""] = segments;
  return { path, depth: segments.length, top, second, split: splitOfWord(top), isHidden: segments.some(isLitter) };
}

function loose(name: string): Placement {
  if (isLitter(name)) return { kind: "ignored", reason: "hidden file", isVisible: false };
  if (name === "") return { kind: "ignored", reason: "empty folder", isVisible: false };
  return {
    kind: "ignored",
    reason: `lies in no class folder${pictureKinds.has(kindOf(name)) ? "" : " and is no picture"}`,
    isVisible: true,
  };
}

/** Hidden files and what macOS and Windows leave in folders. */
function isLitter(name: string): boolean {
  return name.startsWith(".") || name === "__MACOSX" || name === "Thumbs.db" || name === "desktop.ini";
}

/** The end of a name in lower case, without the dot; "" where there is none. */
function kindOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot < 0 ? "" : name.slice(dot + 1).toLowerCase();
}

/** Names in JSON quotes, so that line breaks and the like are seen. */
export function quoted(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(", ");
}
