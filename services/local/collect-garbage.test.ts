import { test } from "vitest";
import { memoryObjectStore } from "../../platform/object-store/memory.js";
import { exerciseGarbage } from "../../test/support/garbage.js";

test("gc deletes what nothing needs and keeps the rest", () => exerciseGarbage(memoryObjectStore(), () => 0));
