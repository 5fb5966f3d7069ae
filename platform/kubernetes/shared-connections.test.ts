import { appendFileSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CoreV1Api } from "@kubernetes/client-node";
import { expect, onTestFinished, test } from "vitest";
import { selfSigned } from "../../test/support/certificates.js";
import { SharedConnections } from "./shared-connections.js";

test("requests one after another use one connection, until the authorities change", async () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-connections-"));
  const { certificate, key, files } = selfSigned(folder, "127.0.0.1");
  const caFile = join(folder, "ca.crt");
  copyFileSync(files.certificate, caFile);
  let connections = 0;
  const server = createServer({ cert: certificate, key }, (_, response) =>
    response.setHeader("content-type", "application/json").end(JSON.stringify({ metadata: { name: "team-a" } })),
  ).on("secureConnection", () => connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const config = new SharedConnections();
  config.loadFromClusterAndUser(
    { name: "c", server: `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`, caFile, skipTLSVerify: false },
    { name: "me" },
  );
  const core = config.makeApiClient(CoreV1Api);
  const ask = async (): Promise<void> => expect((await core.readNamespace({ name: "team-a" })).metadata?.name).toBe("team-a");
  for (let request = 0; request < 5; request++) await ask();
  expect(connections).toBe(1);

  appendFileSync(caFile, selfSigned(folder, "other").certificate);
  await ask();
  await ask();
  expect(connections).toBe(2);
});
