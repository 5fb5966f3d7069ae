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
import { portWith, serveForTest } from "../../test/support/grpc-services.js";
import { CodedError } from "../../domain/errors.js";
import type { Access, Caller } from "../access/access.js";
import { everyone } from "../access/everyone.js";
import { staticTokens } from "../access/static-tokens.js";
import { jobServiceHandlers } from "../job-service/grpc-server.js";
import type { JobService as JobServicePort } from "../job-service/job-service.js";
import { workServiceHandlers } from "../work-service/grpc-server.js";
import type { WorkService as WorkServicePort } from "../work-service/work-service.js";
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

/** The status of a call to a path of its own, by default without a token. */
function statusOfCall(channel: GrpcChannel, path: string, metadata = new Metadata()): Promise<number> {
  const asItIs = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) => {
    channel.client.makeUnaryRequest(path, asItIs, asItIs, Buffer.alloc(0), metadata, (error) => resolve(error?.code ?? 0));
  });
}

test("health is open to probes, reflection is not; other schemes of authorisation are none", async () => {
  const { open } = await serveForTest(jobs, work, { access: staticTokens({ worker: ["w"], client: ["c"] }) });
  const channel = open();
  expect(await statusOfCall(channel, healthDefinition["Check"]!.path)).toBe(0);
  expect(await statusOfCall(channel, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")).toBe(16);
  expect(await statusOfCall(channel, "/graft.v1.JobService/GetJob")).toBe(16);
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

const caller = (audiences: Partial<Caller>): Caller => ({
  ...{ user: "jane", uid: "u", groups: [], extra: {}, namespace: "team-a", client: false, worker: undefined },
  ...audiences,
});
const byToken = (authenticate: Access["authenticate"]): Access => ({ ...everyone, authenticate, advice: "ask Jane" });

test("a handler knows who calls, in calls and in streams, however many there are at a time", async () => {
  const pod = { namespace: "team-a", name: "p", uid: "pod-1" };
  const access = byToken(async (token) => caller({ user: token ?? "nobody", client: true, worker: pod }));
  const seen: Caller[] = [];
  const jobsFor = (who: Caller): JobServicePort => {
    seen.push(who);
    const named: JobResource = { ...resource, metadata: { name: who.user } };
    return portWith<JobServicePort>({
      getJob: async () => named,
      watchJob: async function* () {
        yield named;
      },
    });
  };
  const services = [jobServiceHandlers(jobsFor), workServiceHandlers((who) => (seen.push(who), portWith<WorkServicePort>(work)))];
  const { open } = await serveForTest({}, {}, { access, services });
  const names = Array.from({ length: 20 }, (_, index) => `user-${String(index)}`);
  const answers = await Promise.all(
    names.map(async (token) => {
      const client = grpcClient(JobService, open({ token }));
      const watched: (string | undefined)[] = [];
      for await (const { job } of client.watchJob(flowers, call)) watched.push(job?.metadata?.name);
      return [(await client.getJob(flowers, call)).job?.metadata?.name, ...watched];
    }),
  );
  expect(answers).toEqual(names.map((name) => [name, name]));
  await commitResult(open({ token: "w" }));
  expect(seen.at(-1)).toMatchObject({ user: "w", worker: pod });
});

test("who is known, but not for this service, is refused; for reflection any token will do", async () => {
  const access = byToken(async (token) => caller({ client: token === "client", worker: token === "worker" ? "anyone" : undefined }));
  const { open } = await serveForTest(jobs, work, { access });
  await getJob(open({ token: "client" }));
  await commitResult(open({ token: "worker" }));
  const refused = { code: "ACCESS_DENIED", message: "this call is for workers, and the token is not one of theirs; ask Jane" };
  await expect(commitResult(open({ token: "client" }))).rejects.toMatchObject(refused);
  await expect(getJob(open({ token: "worker" }))).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  const neither = open({ token: "neither" });
  await expect(getJob(neither)).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  // Admitted, and then without a request: not 7 nor 16.
  expect(await statusOfCall(neither, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", neither.metadata)).not.toBe(16);
});

test("where nobody can say who calls, nobody is let in", async () => {
  let failure: Error = new CodedError("CLUSTER_UNAVAILABLE", "Kubernetes: create TokenReview: connect ECONNREFUSED");
  const access = byToken(async () => {
    throw failure;
  });
  const { open, unexpected } = await serveForTest(jobs, work, { access });
  const channel = open({ token: "t" });
  await expect(getJob(channel)).rejects.toEqual(failure);
  expect(await statusOfCall(channel, "/graft.v1.JobService/GetJob", channel.metadata)).toBe(14);
  failure = new TypeError("a bug");
  await expect(getJob(channel)).rejects.toThrow(/internal error of the server/);
  expect(unexpected).toEqual([failure]);
});
