import assert from "node:assert";

/** Longest key in characters; S3 allows 1,024 bytes and file systems 4,096 for a whole path. */
const KEY_LENGTH_MAX = 512;
/** Longest segment in characters: every file system allows 255 bytes. */
const SEGMENT_LENGTH_MAX = 200;

/** A key's segment begins with a letter, digit, `_` or `-`, so it is never `.`, `..` or a hidden file. */
const segmentPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

/** Keys are made by graft itself, never by users: a bad one is a mistake in the code. Where `a/b` is a key, `a` must not be one (a folder of files could not hold both). */
export function assertObjectKey(key: string): void {
  assert(
    key.length > 0 && key.length <= KEY_LENGTH_MAX,
    `object key of ${key.length} characters: expected 1 to ${KEY_LENGTH_MAX}: ${key.slice(0, 80)}`,
  );
  for (const segment of key.split("/")) assertSegment(segment, key);
}

/** A prefix is a key whose last segment may be cut short or empty. */
export function assertObjectPrefix(prefix: string): void {
  assert(prefix.length <= KEY_LENGTH_MAX, `object prefix of ${prefix.length} characters: expected at most ${KEY_LENGTH_MAX}`);
  const segments = prefix.split("/");
  for (const [index, segment] of segments.entries()) if (index < segments.length - 1 || segment !== "") assertSegment(segment, prefix);
}

function assertSegment(segment: string, key: string): void {
  assert(
    segment.length <= SEGMENT_LENGTH_MAX,
    `object key ${key}: a segment has ${segment.length} characters, expected at most ${SEGMENT_LENGTH_MAX}`,
  );
  assert(
    segmentPattern.test(segment),
    `object key ${JSON.stringify(key)}: segment ${JSON.stringify(segment)} is not of [A-Za-z0-9._-] or begins with a dot`,
  );
}
