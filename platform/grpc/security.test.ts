import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Metadata } from "@grpc/grpc-js";
import { service as healthDefinition } from "grpc-health-check";
import { afterAll, expect, test } from "vitest";
import type { JobResource } from "../../domain/job/resource.js";
import { JobService } from "../../proto/gen/graft/v1/job_service_pb.js";
import { WorkService } from "../../proto/gen/graft/v1/work_service_pb.js";
import { selfSigned } from "../../test/support/certificates.js";
import { serveForTest } from "../../test/support/grpc-services.js";
import { everyone } from "../access/everyone.js";
import { staticTokens } from "../access/static-tokens.js";
import { grpcClient, openChannel, type GrpcChannel } from "./client.js";
import { serveGrpc } from "./server.js";

const call = { deadlineMs: 30_000 };
const flowers = { job: { name: "flowers" } };
const member = { jobId: "j", trainer: "t", generation: 1 };
const resource: JobResource = {
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: { name: "flowers" },
  spec: { dataset: { source: "x" } },
  status: { phase: "PENDING", suspended: false },
};
const jobs = { getJob: async () => resource };
const work = { commitResult: async () => undefined };
const getJob = (channel: GrpcChannel) => grpcClient(JobService, channel).getJob(flowers, call);
const commitResult = (channel: GrpcChannel) => grpcClient(WorkService, channel).commitResult(member, call);

const folder = mkdtempSync(join(tmpdir(), "graft-tls-"));
afterAll(() => rmSync(folder, { recursive: true }));

const here = selfSigned(folder, "127.0.0.1");
const elsewhere = selfSigned(folder, "coordinator.example");

test("TLS with a certificate that the client trusts", async () => {
  const { open } = await serveForTest(jobs, work, { tls: here });
  expect((await getJob(open({ tls: { ca: here.certificate } }))).job?.metadata?.name).toBe("flowers");
});

test("a name in the certificate that is not the address's", async () => {
  const { open } = await serveForTest(jobs, work, { tls: elsewhere });
  const ca = elsewhere.certificate;
  await expect(getJob(open({ tls: { ca } }))).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await getJob(open({ tls: { ca, serverName: "coordinator.example" } }));
});

test("a certificate that nobody trusts, and plaintext to a TLS server", async () => {
  const { open } = await serveForTest(jobs, work, { tls: here });
  await expect(getJob(open({ tls: { ca: elsewhere.certificate } }))).rejects.toMatchObject({
    code: "SERVER_UNAVAILABLE",
    message: expect.stringMatching(/self-signed certificate/) as string,
  });
  await expect(getJob(open({ tls: {} }))).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await expect(getJob(open())).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await getJob(open({ tls: { ca: here.certificate } }));
});

test("a server that asks for the client's certificate", async () => {
  const { open } = await serveForTest(jobs, work, { tls: { ...here, clientCa: elsewhere.certificate } });
  const ca = here.certificate;
  await getJob(open({ tls: { ca, own: elsewhere } }));
  await expect(getJob(open({ tls: { ca } }))).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await expect(getJob(open({ tls: { ca, own: here } }))).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
});

test("a connection that never begins its handshake does not outlive the server", async () => {
  const { server, open } = await serveForTest(jobs, work, { tls: here });
  const silent = connect(server.port, "127.0.0.1");
  await once(silent, "connect");
  await getJob(open({ tls: { ca: here.certificate } }));
  const closed = once(silent, "close");
  silent.on("error", () => undefined).resume();
  await server.stop(60_000);
  await closed;
});

test("certificates that are none", async () => {
  const settings = { address: "127.0.0.1:0", access: everyone, services: [], onUnexpected: () => undefined };
  const garbage = Buffer.from("no PEM");
  await expect(serveGrpc({ ...settings, tls: { certificate: garbage, key: here.key } })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await expect(serveGrpc({ ...settings, tls: { certificate: here.certificate, key: elsewhere.key } })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
  await expect(serveGrpc({ ...settings, tls: { ...here, clientCa: garbage } })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  expect(() => openChannel({ address: "coordinator:7070", tls: { ca: garbage } })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
});

test("plaintext is for loopback, unless somebody says otherwise", async () => {
  const settings = { access: everyone, services: [], onUnexpected: () => undefined };
  for (const address of ["0.0.0.0:0", "[::]:0", "coordinator:7070"]) {
    await expect(serveGrpc({ ...settings, address })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("certificate") as string,
    });
    expect(() => openChannel({ address, tls: "plaintext" })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  }
  for (const address of ["localhost:1", "127.8.0.1:1", "[::1]:1", "coordinator:7070"]) {
    openChannel({ address, tls: "plaintext", allowPlaintext: address.startsWith("coordinator") }).close();
  }
  const server = await serveGrpc({ ...settings, address: "0.0.0.0:0", allowPlaintext: true });
  await server.stop(0);
});

test("tokens: each service has its own", async () => {
  const access = staticTokens({ worker: ["worker-1", "worker-2"], client: ["client-1"] });
  const { open } = await serveForTest(jobs, work, { access });
  const denied = { code: "ACCESS_DENIED" };
  await commitResult(open({ token: "worker-1" }));
  await commitResult(open({ token: "worker-2" }));
  await getJob(open({ token: "client-1" }));
  await expect(getJob(open())).rejects.toMatchObject({ ...denied, message: expect.stringMatching(/has no token.*--token-file/) as string });
  for (const token of ["client-2", "client-", "client-11", "CLIENT-1"]) {
    await expect(getJob(open({ token }))).rejects.toMatchObject({
      ...denied,
      message: expect.stringMatching(/^the token is not one of the server's; .*--token-file/) as string,
    });
  }
  await expect(getJob(open({ token: "worker-1" }))).rejects.toMatchObject({
    ...denied,
    message: expect.stringMatching(/^this call is for clients, and the token is not one of theirs; .*--token-file/) as string,
  });
  await expect(commitResult(open({ token: "client-1" }))).rejects.toMatchObject(denied);
});

/** The status of a call without a token, to a path of its own. */
function statusWithout(channel: GrpcChannel, path: string): Promise<number> {
  const asItIs = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    channel.client.makeUnaryRequest(path, asItIs, asItIs, Buffer.alloc(0), new Metadata(), (error) => resolve(error?.code ?? 0));
  });
}

test("health is open to probes, reflection is not; other schemes of authorisation are none", async () => {
  const { open } = await serveForTest(jobs, work, { access: staticTokens({ worker: ["w"], client: ["c"] }) });
  const channel = open();
  expect(await statusWithout(channel, healthDefinition["Check"]!.path)).toBe(0);
  expect(await statusWithout(channel, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")).toBe(16);
  expect(await statusWithout(channel, "/graft.v1.JobService/GetJob")).toBe(16);
  channel.metadata.set("authorization", "Basic c");
  await expect(getJob(channel)).rejects.toMatchObject({ code: "ACCESS_DENIED" });
});

test("tokens that would let nobody in, or that no header can hold", () => {
  for (const tokens of [
    { worker: [], client: ["c"] },
    { worker: ["w"], client: [""] },
  ]) {
    expect(() => staticTokens(tokens)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  }
  expect(() => openChannel({ address: "127.0.0.1:1", tls: "plaintext", token: "secret\n" })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
});
