import assert from "node:assert/strict";
import { test } from "vitest";
import { jobIdFromRequest } from "./job-id.js";

test("a request id always gives the same UUID, another one another", () => {
  // sha256("graft job\nflowers"), version and variant set; computed with sha256sum.
  assert.equal(jobIdFromRequest("flowers"), "661492a6-c9c8-810b-93d3-b659d1978087");
  const ids = Array.from({ length: 500 }, (_, index) => jobIdFromRequest(`request ${index}`));
  assert.equal(new Set(ids).size, 500);
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});
