import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { storeErrorFrom } from "./filesystem-error.js";

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made by the test`), { code });
}

test("a full disk and a used-up quota are STORE_FULL with folder and free bytes", async () => {
  for (const code of ["ENOSPC", "EDQUOT"]) {
    const error = await storeErrorFrom(systemError(code), "write object a/b", `${tmpdir()}/not/yet/made`);
    assert.ok(error instanceof CodedError && error.code === "STORE_FULL");
    assert.match(error.message, /cannot write object a\/b: .*\(\d+ bytes free\)/);
    assert.ok(typeof error.details["freeBytes"] === "number" && error.details["freeBytes"] > 0);
  }
});

test("every other system error is STORE_UNAVAILABLE with its code and what to do; errors that are none stay as they are", async () => {
  for (const code of ["EACCES", "EROFS", "EIO", "EMFILE", "ESTALE"]) {
    const error = await storeErrorFrom(systemError(code), "read object a", "/store");
    assert.ok(error instanceof CodedError && error.code === "STORE_UNAVAILABLE");
    assert.match(error.message, new RegExp(`^store /store: cannot read object a: ${code}; .{20,}`));
  }
  const bug = new TypeError("x is not a function");
  assert.equal(await storeErrorFrom(bug, "read object a", "/store"), bug);
});
