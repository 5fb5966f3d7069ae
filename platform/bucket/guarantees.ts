import { clockText } from "./s3-error.js";
import { sha256Hex } from "../../domain/features/sha256.js";
import type { Bucket } from "./bucket.js";

/** Something that graft relies on, tried. */
export interface Guarantee {
  readonly name: string;
  readonly holds: boolean;
  /** What was done and seen. */
  readonly detail: string;
}

const RACERS = 20;
const RACES = 3;
const ROUNDS = 10;
/** Signatures are refused from 15 minutes on; a difference that grows to that should be seen before. */
const CLOCK_DIFFERENCE_MS_MAX = 60_000;

/**
 * Tries what graft needs of an S3-compatible server, on objects of its own below `folder`, which are deleted in the end.
 * @throws CodedError where the server cannot be used at all: no such bucket, wrong keys, not there
 */
export async function tryGuarantees(bucket: Bucket, folder: string): Promise<Guarantee[]> {
  const keys = new Set<string>();
  const keyOf = (name: string): string => {
    const key = `${folder}/${name}`;
    keys.add(key);
    return key;
  };
  const results: Guarantee[] = [];
  const add = (name: string, holds: boolean, detail: string): unknown => results.push({ name, holds, detail });
  try {
    // 1. The first writer wins, whoever else writes at the same time.
    let winners = 0;
    let kept = 0;
    for (let race = 0; race < RACES; race++) {
      const key = keyOf(`race-${race}`);
      const bodies = Array.from({ length: RACERS }, (_, racer) => new Uint8Array(100 + racer).fill(racer));
      const outcomes = await Promise.all(bodies.map((body) => bucket.put(key, body, true)));
      winners += outcomes.filter((outcome) => outcome === "stored").length;
      const winner = outcomes.indexOf("stored");
      if ((await bucket.get(key))?.bytes === bodies[winner]?.length) kept++;
    }
    add(
      "create if absent",
      winners === RACES && kept === RACES,
      `${RACES} races of ${RACERS} writers had ${winners} winners, ${kept} of them were read back`,
    );

    // 2. A finished write is seen by the next reading, look and listing.
    const seen = { read: 0, list: 0, overwrite: 0 };
    const overwritten = keyOf("overwritten");
    for (let round = 0; round < ROUNDS; round++) {
      const key = keyOf(`fresh-${round}`);
      await bucket.put(key, Uint8Array.of(round), true);
      if ((await bucket.get(key))?.body[0] === round) seen.read++;
      if ((await bucket.list({ prefix: `${folder}/fresh-` })).objects.length === round + 1) seen.list++;
      await bucket.put(overwritten, Uint8Array.of(round), false);
      if ((await bucket.get(overwritten))?.body[0] === round) seen.overwrite++;
    }
    const of = (count: number): string => `${count} of ${ROUNDS} times`;
    add("read after write", seen.read === ROUNDS, of(seen.read));
    add("list after write", seen.list === ROUNDS, of(seen.list));
    add("overwrite", seen.overwrite === ROUNDS, of(seen.overwrite));

    // 3. Parts, metadata, the end.
    const body = Buffer.from("0123456789");
    const ranged = keyOf("ranged");
    await bucket.put(ranged, body, false);
    const part = Buffer.from((await bucket.getRange(ranged, 3, 6)) ?? []).toString();
    const tail = Buffer.from((await bucket.getRange(ranged, 8, 100)) ?? []).toString();
    add("ranged read", part === "345" && tail === "89", `bytes 3 to 5 of 0123456789 are ${part}, from 8 on ${tail}`);
    const head = await bucket.head(ranged);
    const isKept = head?.sha256 === sha256Hex(body) && head.bytes === body.length;
    add(
      "metadata",
      isKept,
      isKept ? "the SHA-256 of a body is kept with it" : `expected the SHA-256 of the body, found ${String(head?.sha256)}`,
    );
    await bucket.delete(ranged);
    const left = [await bucket.get(ranged), await bucket.head(ranged)].filter((found) => found !== undefined).length;
    const isListed = (await bucket.list({ prefix: ranged })).objects.length > 0;
    add("delete", left === 0 && !isListed, left === 0 && !isListed ? "gone at once" : "still there after it was deleted");
    const ahead = bucket.clockAheadMs() ?? 0;
    add("clock", Math.abs(ahead) <= CLOCK_DIFFERENCE_MS_MAX, ahead === 0 ? "as this machine's" : `${clockText(ahead)} this machine's`);
    return results;
  } finally {
    await Promise.allSettled([...keys].map((key) => bucket.delete(key)));
  }
}
