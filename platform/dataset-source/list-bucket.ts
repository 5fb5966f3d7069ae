import { compareUtf8 } from "../../domain/dataset/utf8-order.js";
import type { Bucket, BucketPage } from "../bucket/bucket.js";

/** Ranges of keys that are listed at the same time. */
const RANGES_AHEAD = 8;
/** Pages of a thousand keys that a range holds before somebody takes them. */
const PAGES_AHEAD = 3;
/** A range of small folders should have this many keys: below a few pages the requests cost more than the keys. */
const RANGE_KEYS = 3_000;
/** A folder with as many keys as this is a range of its own, which needs no request that reaches beyond its end. */
const FOLDER_KEYS_MANY = 300;
/** Folders of one range, however small they are. */
const RANGE_FOLDERS_MAX = 500;
/** A prefix with fewer folders than this (train/, test/) is divided by the folders in them. */
const FOLDERS_FEW = 8;
/** Levels below which nothing is divided any more. */
const LEVELS_MAX = 3;
/** A full page with fewer folders than this is mostly files: looking on for folders would list everything twice. */
const FOLDERS_ON_PAGE_MIN = 10;
/** Files between folders that are held until it is known whether their range goes on. */
const FILES_BETWEEN_MAX = 1_000;

export type BucketEntry = BucketPage["objects"][number];

/** A file, or a folder (a prefix with a slash at its end), in the order of their keys. */
type Item = { readonly file: BucketEntry } | { readonly folder: string };

/**
 * All keys under `prefix` in the order of their bytes, a bounded number of them held. Folders divide the keys into ranges, several of which are listed ahead at the same time;
 * how many folders make a range follows from how many keys those before had.
 */
export async function* listInParallel(bucket: Pick<Bucket, "list">, prefix: string): AsyncGenerator<BucketEntry, void, undefined> {
  const found = { folders: 0, keys: 0 };
  const items = itemsUnder(bucket, prefix, 1);
  /** What comes next: files, and ranges that are being listed. */
  const window: (BucketEntry | Range)[] = [];
  let next = await items.next();

  /** The next folders as one range; files between them are in it, files after them are not. */
  const addRange = async (first: string): Promise<void> => {
    const folderKeys = found.folders === 0 ? Infinity : found.keys / found.folders;
    const size = folderKeys >= FOLDER_KEYS_MANY ? 1 : Math.min(RANGE_FOLDERS_MAX, Math.ceil(RANGE_KEYS / folderKeys));
    let last = first;
    let folders = 1;
    let after: BucketEntry[] = [];
    next = await items.next();
    while (next.done !== true && folders < size && after.length < FILES_BETWEEN_MAX) {
      if ("file" in next.value) after.push(next.value.file);
      else {
        last = next.value.folder;
        folders++;
        after = [];
      }
      next = await items.next();
    }
    window.push({ folders, pages: ahead(pagesOf(bucket, prefix, first, last), PAGES_AHEAD) }, ...after);
  };

  try {
    for (;;) {
      while (next.done !== true && window.length < FILES_BETWEEN_MAX && window.filter(isRange).length < RANGES_AHEAD) {
        if ("folder" in next.value) await addRange(next.value.folder);
        else {
          window.push(next.value.file);
          next = await items.next();
        }
      }
      const head = window.shift();
      if (head === undefined) return;
      if (!isRange(head)) {
        yield head;
        continue;
      }
      let keys = 0;
      try {
        for await (const page of head.pages) {
          keys += page.length;
          yield* page;
        }
      } finally {
        await head.pages.return?.();
      }
      found.folders += head.folders;
      found.keys += keys;
    }
  } finally {
    for (const each of window) if (isRange(each)) await each.pages.return?.();
    await items.return();
  }
}

interface Range {
  readonly folders: number;
  readonly pages: AsyncIterableIterator<BucketEntry[]>;
}

function isRange(value: BucketEntry | Range): value is Range {
  return "pages" in value;
}

async function* itemsUnder(bucket: Pick<Bucket, "list">, prefix: string, level: number): AsyncGenerator<Item, void, undefined> {
  let page = await bucket.list({ prefix, byFolder: true });
  if (level > 1 && (page.prefixes.length === 0 || (page.next !== undefined && page.prefixes.length < FOLDERS_ON_PAGE_MIN))) {
    yield { folder: prefix };
    return;
  }
  const isFew = page.next === undefined && page.prefixes.length < FOLDERS_FEW;
  for (;;) {
    for (const item of inOrder(page)) {
      if ("folder" in item && isFew && level < LEVELS_MAX) yield* itemsUnder(bucket, item.folder, level + 1);
      else yield item;
    }
    if (page.next === undefined) return;
    if (page.prefixes.length < FOLDERS_ON_PAGE_MIN) break;
    page = await bucket.list({ prefix, byFolder: true, next: page.next });
  }
  // Mostly files: the rest as it comes. A folder's key sorts before all that is in it, so the listing goes on where the page ended.
  const last = [page.objects.at(-1)?.key ?? "", page.prefixes.at(-1) ?? ""].sort(compareUtf8)[1] ?? "";
  let rest = await bucket.list({ prefix, after: last.endsWith("/") ? behind(last) : last });
  for (;;) {
    for (const file of rest.objects) if (!(last.endsWith("/") && file.key.startsWith(last))) yield { file };
    if (rest.next === undefined) return;
    rest = await bucket.list({ prefix, next: rest.next });
  }
}

/** Files and folders of a page, both of which are sorted. */
function* inOrder({ objects, prefixes }: BucketPage): Generator<Item> {
  let folder = 0;
  for (const file of objects) {
    while (folder < prefixes.length && compareUtf8(prefixes[folder] as string, file.key) < 0)
      yield { folder: prefixes[folder++] as string };
    yield { file };
  }
  while (folder < prefixes.length) yield { folder: prefixes[folder++] as string };
}

/** The keys from the first folder to the end of the last one, page by page. */
async function* pagesOf(
  bucket: Pick<Bucket, "list">,
  prefix: string,
  first: string,
  last: string,
): AsyncGenerator<BucketEntry[], void, undefined> {
  const isOne = first === last;
  const within = isOne ? first : prefix;
  let page = await bucket.list(isOne ? { prefix: within } : { prefix: within, after: before(first) });
  for (;;) {
    const keys = isOne ? page.objects : page.objects.filter(({ key }) => compareUtf8(key, first) >= 0);
    const end = isOne ? -1 : keys.findIndex(({ key }) => compareUtf8(key, last) > 0 && !key.startsWith(last));
    yield [...(end < 0 ? keys : keys.slice(0, end))];
    if (page.next === undefined || end >= 0) return;
    page = await bucket.list({ prefix: within, next: page.next });
  }
}

/** Sorts before everything in the folder and after almost everything that sorts before it. */
function before(folder: string): string {
  return `${folder.slice(0, -1)}.\u{10ffff}`;
}

/** Sorts after almost everything in the folder, and before what follows it. */
function behind(folder: string): string {
  return `${folder}\u{10ffff}`;
}

/** Takes from `source` before anybody asks, up to `count` values. */
function ahead<T>(source: AsyncGenerator<T, void, undefined>, count: number): AsyncIterableIterator<T> {
  const pull = (): Promise<IteratorResult<T, void>> => {
    const result = source.next();
    result.catch(() => undefined); // thrown where it is taken
    return result;
  };
  const pending = Array.from({ length: count }, pull);
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => {
      const result = pending.shift() ?? pull();
      pending.push(pull());
      return result as Promise<IteratorResult<T>>;
    },
    return: async () => {
      await Promise.allSettled(pending);
      await source.return();
      return { done: true, value: undefined };
    },
  };
}
