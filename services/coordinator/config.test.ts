import { expect, test } from "vitest";
import { coordinatorConfig } from "./config.js";

test("a token for workers alone is refused: nobody would be asked for it", () => {
  const store = { location: "/store" };
  const { error } = coordinatorConfig.safeParse({ store, workerToken: "w" });
  expect(error?.issues).toMatchObject([{ path: ["workerToken"] }]);
  for (const tokens of [{}, { clientToken: "c" }, { clientToken: "c", workerToken: "w" }])
    expect(coordinatorConfig.safeParse({ store, ...tokens }).success).toBe(true);
});
