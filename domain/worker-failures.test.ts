import { expect, test } from "vitest";
import { errorCodes, type ErrorCode } from "./errors.js";
import { isWorthAnotherTry } from "./worker-failures.js";

const codes = Object.keys(errorCodes) as ErrorCode[];

test("what passes ends no worker", () => {
  for (const code of codes.filter((each) => errorCodes[each].retryable))
    expect([isWorthAnotherTry("extractor", code), isWorthAnotherTry("trainer", code)], code).toEqual([true, true]);
});

test("an extractor ends with what is wrong with itself", () => {
  expect(codes.filter((code) => !isWorthAnotherTry("extractor", code))).toEqual([
    "SPEC_INVALID",
    "USAGE_INVALID",
    "REQUEST_INVALID",
    "CONFIG_INVALID",
    "TRAINING_DIVERGED",
    "ACCURACY_TOO_LOW",
    "TRAINERS_DIVERGED",
    "JOB_TRANSITION_ILLEGAL",
    "GENERATION_STALE",
    "NUMERICS_PROFILE_MISMATCH",
    "DEADLINE_EXCEEDED",
    "BACKOFF_LIMIT_EXCEEDED",
    "WORKER_OUT_OF_MEMORY",
    "WORKERS_UNSCHEDULABLE",
    "IMAGE_PULL_FAILED",
    "WORKERS_NOT_STARTED",
    "ACCESS_DENIED",
    "CLUSTER_NOT_FOUND",
    "CLUSTER_REFUSED",
    "CONTRACT_MISMATCH",
    "ENGINE_UNAVAILABLE",
    "ENGINE_UNSUPPORTED",
    "STORE_FULL",
    "STORE_NOT_FOUND",
    "STORE_FORMAT_NEWER",
    "INTERRUPTED",
  ]);
});

test("a trainer ends with what is wrong with that which it runs on", () => {
  expect(codes.filter((code) => !isWorthAnotherTry("trainer", code))).toEqual([
    "ACCESS_DENIED",
    "CLUSTER_NOT_FOUND",
    "CLUSTER_REFUSED",
    "CONTRACT_MISMATCH",
    "ENGINE_UNAVAILABLE",
    "ENGINE_UNSUPPORTED",
    "STORE_FULL",
    "STORE_NOT_FOUND",
    "STORE_FORMAT_NEWER",
    "INTERRUPTED",
  ]);
});
