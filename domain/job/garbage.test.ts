import { describe, expect, test } from "vitest";
import { garbageReason, type StoreReferences } from "./garbage.js";

const sha = (digit: string): string => digit.repeat(64);
const named = { shards: new Set([sha("a")]), thumbnails: new Set([sha("b")]) };
const references: StoreReferences = {
  jobs: new Map([
    ["running", "Training"],
    ["complete", "Complete"],
    ["failed", "Failed"],
    ["cancelled", "Cancelled"],
    ["unreadable", undefined],
  ]),
  features: new Map<string, typeof named | "unknown">([
    ["features/known", named],
    ["features/used", named],
    ["features/unknown", "unknown"],
    ["domains/a/features/known", { shards: new Set([sha("c")]), thumbnails: new Set<string>() }],
    ["domains/a/features/used", named],
    ["domains/b/features/used", named],
  ]),
  featuresInUse: new Set(["features/used", "domains/a/features/used"]),
};

describe("what nothing needs", () => {
  test.each([
    [`features/known/shards/${sha("c")}.arrow`, "shards that no index names"],
    [`features/known/thumbnails/${sha("a")}.arrow`, "thumbnails that no index names"],
    [`features/used/quarantine/${sha("a")}.arrow`, "damaged features, put aside"],
    [`domains/a/features/known/shards/${sha("a")}.arrow`, "shards that no index names"],
    [`domains/b/features/used/shards/${sha("c")}.arrow`, "shards that no index names"],
    [`domains/b/features/used/quarantine/${sha("a")}.arrow`, "damaged features, put aside"],
    ["jobs/gone/plan.json", "of a deleted job"],
    ["jobs/complete/checkpoints/100/state", "checkpoints of a finished job"],
    ["jobs/cancelled/checkpoints/100/state", "checkpoints of a finished job"],
    ["jobs/failed/result/model.onnx", "part of a result of a job that has none"],
    ["doctor-7d444840-9dc0-11d1-b245-5ffdce74fad2/race-0", "left by graft doctor"],
  ])("%s", (key, reason) => {
    expect(garbageReason(key, references)).toBe(reason);
  });
});

describe("what is kept", () => {
  test.each([
    `features/known/shards/${sha("a")}.arrow`,
    `features/known/thumbnails/${sha("b")}.arrow`,
    `features/known/shards/other-name`,
    "features/known/spec.json",
    "features/known/index/0.json",
    `features/used/shards/${sha("c")}.arrow`,
    `features/unknown/shards/${sha("c")}.arrow`,
    `features/never-seen/shards/${sha("c")}.arrow`,
    `domains/a/features/known/shards/${sha("c")}.arrow`,
    `domains/a/features/used/shards/${sha("c")}.arrow`,
    `domains/c/features/known/shards/${sha("c")}.arrow`,
    "domains/a/identities/x/y.json",
    "jobs/running/checkpoints/100/state",
    "jobs/running/result/model.onnx",
    "jobs/unreadable/checkpoints/100/state",
    "jobs/failed/checkpoints/100/state",
    "jobs/complete/result/model.onnx",
    "jobs/complete/commits/0.json",
    "jobs/complete/spec.json",
    "backbones/names/x/0.json",
    "identities/x/y.json",
    "graft-store.json",
    "something/new",
  ])("%s", (key) => {
    expect(garbageReason(key, references)).toBeUndefined();
  });

  test("every shard while a job has not decided which features it uses", () => {
    expect(garbageReason(`features/known/shards/${sha("c")}.arrow`, { ...references, featuresInUse: "any" })).toBeUndefined();
  });
});
