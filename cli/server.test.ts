import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { staticTokens } from "../platform/access/static-tokens.js";
import { selfSigned } from "../test/support/certificates.js";
import { serveForTest } from "../test/support/grpc-services.js";
import type { ServerFlags } from "./server-flags.js";
import { withServer } from "./server.js";

const folder = mkdtempSync(join(tmpdir(), "graft-server-flags-"));
afterAll(() => rmSync(folder, { recursive: true }));

const explain = (flags: ServerFlags): Promise<unknown> => withServer(flags, (jobs) => jobs.explainJob({ name: "flowers" }));

test("the command line shows its own certificate to a server that asks for one", async () => {
  const [here, mine] = [selfSigned(folder, "127.0.0.1"), selfSigned(folder, "me")];
  const { address: server } = await serveForTest({ explainJob: async () => [] }, {}, { tls: { ...here, clientCa: mine.certificate } });
  const ca = here.files.certificate;
  expect(await explain({ server, ca, ...mine.files })).toEqual([]);
  await expect(explain({ server, ca })).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await expect(explain({ server, ca, ...here.files })).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
});

test("a certificate without its key is refused, and a file that is not there named", async () => {
  const server = "127.0.0.1:1";
  for (const flags of [{ certificate: "c.pem" }, { key: "k.pem" }])
    await expect(explain({ server, ...flags })).rejects.toMatchObject({
      code: "USAGE_INVALID",
      message: expect.stringContaining("belong together") as string,
    });
  await expect(explain({ server, certificate: "/none.pem", key: "/none.pem" })).rejects.toThrow(
    /--certificate \/none\.pem: cannot be read/,
  );
});

test("the command line sends the token of its file", async () => {
  const access = staticTokens({ client: ["secret"], worker: ["w"] });
  const { address: server } = await serveForTest({ explainJob: async () => [] }, {}, { access });
  const tokenFile = join(folder, "token");
  writeFileSync(tokenFile, "secret\n");
  expect(await explain({ server, tokenFile })).toEqual([]);
  writeFileSync(tokenFile, "other\n");
  await expect(explain({ server, tokenFile })).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  await expect(explain({ server, tokenFile: "/none" })).rejects.toMatchObject({
    code: "USAGE_INVALID",
    message: expect.stringMatching(/^--token-file \/none: cannot be read/) as string,
  });
});
