import { expect, test } from "vitest";
import type { JobSpec } from "../../../domain/job/spec.js";
import { datasetKeys, resolveGraftJob } from "./resolve-graft-job.js";

const spec: JobSpec = { dataset: { source: "s3://pictures/flowers/", credentialsSecret: "pictures" } };
const resolve = (change: JobSpec, shared = {}) =>
  resolveGraftJob({ metadata: { name: "flowers", namespace: "team-a" }, spec: { ...spec, ...change } }, shared);

test("features are shared within the namespace, or in a domain that is open to it", () => {
  expect(resolve({}).cacheDomain).toBe("team-a");
  expect(resolve({ cacheDomain: "team-a" }).cacheDomain).toBe("team-a");
  expect(resolve({ cacheDomain: "shared" }, { shared: ["team-b", "team-a"] }).cacheDomain).toBe("shared");
  for (const shared of [{}, { shared: ["team-b"] }])
    expect(() => resolve({ cacheDomain: "shared" }, shared)).toThrow(/cacheDomain: must be team-a, the job's namespace, or one/);
  expect(() => resolve({ cacheDomain: "team-b" })).toThrow(/found "team-b"/);
});

test("nothing is read with the coordinator's own rights: a bucket, and the keys to it; every problem is named at once", () => {
  expect(() => resolve({ dataset: { source: "/etc" } })).toThrow(
    /dataset\.source: must be s3:\/\/bucket\/prefix\/ on Kubernetes, found "\/etc"/,
  );
  expect(() => resolve({ dataset: { source: "s3://pictures/" } })).toThrow(/credentialsSecret: is required .* in namespace team-a/);
  expect(() => resolve({ dataset: { source: "/etc" }, cacheDomain: "x" })).toThrow(
    expect.objectContaining({ code: "SPEC_INVALID", message: expect.stringMatching(/2 problems/) as unknown }) as Error,
  );
});

test("keys to a dataset: trimmed, the region has a default, what is missing or empty is named", () => {
  const values = new Map([
    ["endpoint", "https://s3.example.com\n"],
    ["accessKey", "a"],
    ["secretKey", "s"],
  ]);
  const keys = { endpoint: "https://s3.example.com", accessKey: "a", secretKey: "s" };
  expect(datasetKeys("team-a/pictures", values)).toEqual({ ...keys, region: "us-east-1" });
  expect(datasetKeys("team-a/pictures", new Map([...values, ["region", " eu "]]))).toEqual({ ...keys, region: "eu" });
  expect(() => datasetKeys("team-a/pictures", new Map([...values, ["secretKey", " "]]))).toThrow(
    "Secret team-a/pictures: has no secretKey",
  );
});
