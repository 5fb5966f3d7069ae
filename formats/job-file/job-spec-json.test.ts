import { expectTypeOf, test } from "vitest";
import type { JobSpec } from "../../domain/job/spec.js";
import type { JobSpecJson } from "../../proto/gen/graft/v1/job_pb.js";

/** A type without `readonly`, without the texts that proto's JSON has for numbers that are none, and with one spelling of "no fields". */
type Plain<T> = T extends readonly (infer Element)[]
  ? Plain<Number<Element>>[]
  : T extends Record<string, never>
    ? "empty"
    : T extends object
      ? { -readonly [Key in keyof T]: Plain<Number<T[Key]>> }
      : T;
type Number<T> = number extends T ? Exclude<T, "NaN" | "Infinity" | "-Infinity"> : T;

test("the domain's JobSpec and the JSON of proto's JobSpec have the same fields with the same types", () => {
  // The type check is what fails, and its message names the field.
  expectTypeOf<Plain<JobSpec>>().toEqualTypeOf<Plain<JobSpecJson>>();
});
