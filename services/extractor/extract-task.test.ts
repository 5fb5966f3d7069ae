import { expect, test } from "vitest";
import { sha256Hex } from "../../domain/features/sha256.js";
import { limits } from "../../domain/limits.js";
import type { ListingRow } from "../../formats/listing/listing.js";
import { imageIdAt } from "../../domain/features/image-ids.js";
import { Slots } from "./slots.js";
import { extractTask, type ExtractionContext, type TaskRun } from "./extract-task.js";
import type { Outcomes } from "./prepare-picture.js";

/** A task over pictures whose bytes are `contents`; the network's one feature is the picture's first byte. A content of "bad" cannot be read, one that begins with "x" is rejected. */
function setup(
  contents: readonly string[],
  outcomesBefore?: Outcomes,
  more: Partial<ExtractionContext> = {},
  isKept = (_imageId: string, _view: number): boolean => false,
) {
  const seen = { decoded: [] as string[], shards: [] as { view: number; features: number[] }[], begunAt: -1, lookups: 0 };
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
  const context = {
    source: {
      location: "test",
      read: async ({ path }: { readonly path: string }) => {
        const content = contents[Number(path)] ?? "";
        if (content === "bad") throw new Error("cannot be read");
        return Buffer.from(content);
      },
    },
    features: {
      writeShard: async ({ view, features }: { readonly view: number; readonly features: Float32Array | Uint8Array }) => {
        seen.shards.push({ view, features: [...features] });
        return {};
      },
    },
    featureShape: [1],
    preprocessing: { size: 1 },
    augmentation: undefined,
    views: 1,
    viewsOf: () => 1,
    identities: { recall: async () => undefined, remember: async () => undefined },
    decodeSlots: new Slots(limits.decodesAtOnce),
    decoder: {
      decodeViews: async (bytes: Uint8Array, _geometry: unknown, { views }: { readonly views: readonly number[] }) => {
        seen.decoded.push(text(bytes));
        return text(bytes).startsWith("x")
          ? { kind: "rejected", reason: "no picture" }
          : { kind: "decoded", pictures: views.map((view) => Uint8Array.of(bytes[0]!, view, 0)) };
      },
      thumbnail: async () => new Uint8Array(1),
    },
    forward: async () => ({
      run: async (pixels: Uint8Array, rows: number) =>
        Float32Array.from({ length: rows }, (_, row) => pixels[row * 3]! + pixels[row * 3 + 1]! / 4),
    }),
    milestone: () => undefined,
    ...more,
  } as unknown as ExtractionContext;
  const outcomes: Outcomes = new Map();
  const run: TaskRun = {
    pictures: contents.map((content, index): ListingRow => ({ uri: String(index), bytes: content.length, state: "" }) as ListingRow),
    outcomes,
    outcomesBefore,
    lookup: async (imageIds, view) => {
      seen.lookups++;
      return Uint8Array.from({ length: imageIds.length / 32 }, (_, row) => (isKept(imageIdAt(imageIds, row), view) ? 1 : 0));
    },
    progress: async () => "kept",
    allBegun: () => (seen.begunAt = seen.decoded.length),
  };
  return { seen, outcomes, extract: () => extractTask(run, context, new AbortController().signal) };
}

test("equal pictures are decoded once, also where the task before is still at them", async () => {
  const first = setup(["a", "b", "xx", "a"]);
  const firstOutcome = await first.extract();
  expect(first.seen.decoded).toEqual(["a", "b", "xx"]);
  expect(firstOutcome).toMatchObject({
    kind: "extracted",
    commit: { extracted: 2, cached: 1, rejected: [{ row: 2, reason: "no picture" }] },
  });

  const second = setup(["b", "c", "xx"], first.outcomes);
  const secondOutcome = await second.extract();
  expect(second.seen.decoded).toEqual(["c"]);
  expect(second.seen.shards).toEqual([{ view: 0, features: ["c".charCodeAt(0)] }]);
  expect(secondOutcome).toMatchObject({
    kind: "extracted",
    commit: { extracted: 1, cached: 1, rejected: [{ row: 2, reason: "no picture" }] },
  });
  expect([...second.outcomes.keys()]).toEqual([sha256Hex(Buffer.from("c"))]);
});

test("a reason for a rejection has a bound, so that a commit is one message", async () => {
  const reason = "🌹".repeat(limits.rejectionReasonLength);
  const decoder = { decodeViews: async () => ({ kind: "rejected", reason }) } as unknown as ExtractionContext["decoder"];
  const outcome = await setup(["a"], undefined, { decoder }).extract();
  const [rejected] = outcome.kind === "extracted" ? outcome.commit.rejected : [];
  expect(rejected?.reason.length).toBeLessThanOrEqual(limits.rejectionReasonLength);
  expect(rejected?.reason).toMatch(/^🌹+…$/u);
});

test("says that all pictures are begun before they are done, so that the next task can be; asks once a group", async () => {
  const contents = Array.from({ length: 2 * limits.picturesInGroup + limits.forwardBatch }, (_, index) => String(index));
  const { seen, extract } = setup(contents);
  await extract();
  expect(seen.decoded.length).toBe(contents.length);
  expect(seen.begunAt).toBeGreaterThan(0);
  expect(seen.begunAt).toBeLessThan(contents.length);
  expect(seen.lookups).toBe(3);
});

test("hands back what it has when a picture cannot be read, with the reason", async () => {
  const outcome = await setup(["a", "b", "bad", "c"]).extract();
  expect(outcome).toMatchObject({ kind: "interrupted", failure: new Error("cannot be read") });
});

test("the views that a picture needs and has not, in one shard a view; a picture counts once", async () => {
  const kept = sha256Hex(Buffer.from("b"));
  const more: Partial<ExtractionContext> = {
    views: 3,
    // "c" is no training picture; view 1 of "b" is kept.
    viewsOf: (_picture, imageId) => (imageId === sha256Hex(Buffer.from("c")) ? 1 : 3),
  };
  const { seen, extract } = setup(["a", "b", "c"], undefined, more, (imageId, view) => imageId === kept && view === 1);
  const [a, b, c] = [97, 98, 99];
  expect(await extract()).toMatchObject({ kind: "extracted", commit: { extracted: 3, cached: 0 } });
  expect(seen.decoded.sort()).toEqual(["a", "b", "c"]);
  expect(seen.shards.sort((one, other) => one.view - other.view)).toEqual([
    { view: 0, features: [a, b, c] },
    { view: 1, features: [a + 0.25] },
    { view: 2, features: [a + 0.5, b + 0.5] },
  ]);
});

test("where pixels are the features they are kept as bytes, and no engine is asked", async () => {
  const { seen, extract } = setup(["a", "b"], undefined, { forward: undefined, featureShape: [1, 1, 3] });
  expect(await extract()).toMatchObject({ kind: "extracted", commit: { extracted: 2 } });
  expect(seen.shards).toEqual([{ view: 0, features: [97, 0, 0, 98, 0, 0] }]);
});
