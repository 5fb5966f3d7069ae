import { expect, test } from "vitest";
import { submit } from "./submit.js";

test("a relative folder is refused before a server is asked, with what to give instead", async () => {
  const refused = submit(undefined, { dataset: "samples/flowers", server: "127.0.0.1:1" });
  await expect(refused).rejects.toMatchObject({
    code: "USAGE_INVALID",
    message: expect.stringContaining("--upload samples/flowers") as unknown,
  });
});
