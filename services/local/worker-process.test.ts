import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { staticTokens } from "../../platform/access/static-tokens.js";
import { coordinator } from "../../platform/config/config.js";
import { grpcClient } from "../../platform/grpc/client.js";
import { WorkService } from "../../proto/gen/graft/v1/work_service_pb.js";
import { selfSigned } from "../../test/support/certificates.js";
import { serveForTest } from "../../test/support/grpc-services.js";
import { openCoordinator } from "./worker-process.js";

const folder = mkdtempSync(join(tmpdir(), "graft-worker-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a worker shows its own certificate to a coordinator that asks for one", async () => {
  const [server, worker] = [selfSigned(folder, "127.0.0.1"), selfSigned(folder, "worker")];
  const { address } = await serveForTest({}, { commitResult: async () => undefined }, { tls: { ...server, clientCa: worker.certificate } });
  const call = async (tls: object): Promise<unknown> => {
    const channel = await openCoordinator(coordinator.parse({ address, tls: { ca: server.files.certificate, ...tls } }));
    onTestFinished(() => channel.close());
    return grpcClient(WorkService, channel).commitResult({ jobId: "j", trainer: "t", generation: 1 }, { deadlineMs: 30_000 });
  };
  await call(worker.files);
  await expect(call({})).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await expect(call(server.files)).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
});

test("a certificate without its key is refused with the config", () => {
  for (const tls of [{ certificate: "c.pem" }, { key: "k.pem" }])
    expect(coordinator.safeParse({ address: "h:1", tls }).error?.issues).toMatchObject([{ path: ["tls"] }]);
});

test("a worker sends the token that its tokenFile holds at the time", async () => {
  const access = staticTokens({ client: ["c"], worker: ["new"] });
  const { address } = await serveForTest({}, { commitResult: async () => undefined }, { access });
  const file = join(folder, "token");
  writeFileSync(file, "old\n");
  const channel = await openCoordinator(coordinator.parse({ address, tokenFile: file }));
  onTestFinished(() => channel.close());
  const commit = (): Promise<unknown> =>
    grpcClient(WorkService, channel).commitResult({ jobId: "j", trainer: "t", generation: 1 }, { deadlineMs: 30_000 });
  await expect(commit()).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  writeFileSync(file, "new\n");
  await commit();
  expect(coordinator.safeParse({ address, token: "t", tokenFile: file }).error?.issues).toMatchObject([{ path: ["tokenFile"] }]);
});
