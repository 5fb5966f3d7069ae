import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Client, compressionAlgorithms, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { service as healthDefinition } from "grpc-health-check";
import { expect, onTestFinished, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import { specInvalid } from "../../domain/job/problems.js";
import type { JobResource } from "../../domain/job/resource.js";
import { limits } from "../../domain/limits.js";
import { GetJobRequestSchema, JobService } from "../../proto/gen/graft/v1/job_service_pb.js";
import { WorkService } from "../../proto/gen/graft/v1/work_service_pb.js";
import { BadRequestSchema } from "../../proto/gen/third_party/google/rpc/error_details_pb.js";
import { deferred } from "../../test/support/deferred.js";
import { serveForTest, type TestServer } from "../../test/support/grpc-services.js";
import { everyone } from "../access/everyone.js";
import { grpcClient, type GrpcChannel } from "./client.js";
import { errorOf } from "./errors.js";
import { serveGrpc } from "./server.js";

const call = { deadlineMs: 30_000 };
const flowers = { job: { name: "flowers" } };
const profile = { engine: "e", engineVersion: "1", device: "cpu", instructionSet: "avx2", threads: 0, batch: 0, decoder: "" };
const resource: JobResource = {
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: { name: "flowers" },
  spec: { dataset: { source: "x" } },
  status: { phase: "PENDING", suspended: false },
};
const getJob = async (): Promise<JobResource> => resource;

/** That a server still does its work. */
async function expectAlive(server: TestServer): Promise<void> {
  const { job } = await grpcClient(JobService, server.open()).getJob(flowers, call);
  expect(job?.metadata?.name).toBe("flowers");
}

/** A call with bytes of our own, as a client that knows no contract could make it. */
function rawCall({ client, metadata }: GrpcChannel, path: string, bytes: Buffer, sent = metadata): Promise<Buffer> {
  const asItIs = (buffer: Buffer): Buffer => buffer;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, asItIs, asItIs, bytes, sent, { deadline: Date.now() + 60_000 }, (error: ServiceError | null, answer) =>
      error === null ? resolve(answer ?? Buffer.alloc(0)) : reject(error),
    );
  });
}

test("a failure that nobody expected is logged here and hidden there", async () => {
  const bug = new TypeError("secret");
  const { open, unexpected } = await serveForTest({
    getJob: async () => {
      throw bug;
    },
  });
  const seen = await grpcClient(JobService, open())
    .getJob(flowers, call)
    .catch((error: unknown) => error);
  expect(String(seen)).toMatch(/INTERNAL: internal error of the server/);
  expect(String(seen)).not.toContain("secret");
  expect(unexpected).toEqual([bug]);
});

test("a call ends at its deadline, and the server learns of it", async () => {
  const given = deferred();
  const { open, address } = await serveForTest({
    watchJob: async function* (_job, _seen, signal) {
      signal.addEventListener("abort", () => given.resolve());
      await new Promise(() => undefined);
      yield resource;
    },
  });
  const watch = grpcClient(JobService, open()).watchJob(flowers, { deadlineMs: 50 });
  await expect(watch[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: "SERVER_UNAVAILABLE",
    message: expect.stringMatching(`^the server at ${address} does not answer \\(DEADLINE_EXCEEDED`) as string,
  });
  await given.promise;
});

test("nobody there", async () => {
  const { server, open } = await serveForTest({});
  await server.stop(0);
  await expect(grpcClient(JobService, open()).getJob(flowers, call)).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
});

test("bytes that are no message of the method", async () => {
  const server = await serveForTest({ getJob });
  const refused = rawCall(server.open(), "/graft.v1.JobService/GetJob", Buffer.from("ff".repeat(40), "hex"));
  await expect(refused).rejects.toMatchObject({
    code: 3,
    details: expect.stringMatching(/^GetJob: expected a graft.v1.GetJobRequest, found 40 bytes/) as string,
  });
  await expectAlive(server);
});

test("a method that there is not", async () => {
  const server = await serveForTest({ getJob });
  const error = await rawCall(server.open(), "/graft.v1.JobService/DeleteJob", Buffer.alloc(0)).catch(
    (cause: unknown) => cause as ServiceError,
  );
  expect(errorOf(error as ServiceError, server.address, "DeleteJob")).toMatchObject({ code: "CONTRACT_MISMATCH" });
});

test("messages beyond the limit are refused: 100 MB, and 100 MB in a small gzip", async () => {
  const server = await serveForTest({ getJob });
  const client = new Client(server.address, credentials.createInsecure(), { "grpc.max_send_message_length": -1 });
  onTestFinished(() => client.close());
  const channel = { ...server.open(), client };
  const huge = Buffer.alloc(100_000_000);
  await expect(rawCall(channel, "/graft.v1.JobService/GetJob", huge)).rejects.toMatchObject({ code: 8 });
  const bomb = new Client(server.address, credentials.createInsecure(), {
    "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
  });
  onTestFinished(() => bomb.close());
  expect(gzipSync(huge).length).toBeLessThan(limits.grpcMessageBytes);
  await expect(rawCall({ ...channel, client: bomb }, "/graft.v1.JobService/GetJob", huge)).rejects.toMatchObject({ code: 8 });
  await expectAlive(server);
});

test("our own client sends no message beyond the limit", async () => {
  const { open } = await serveForTest({ getJob });
  const job = { name: "x".repeat(limits.grpcMessageBytes + 1) };
  await expect(grpcClient(JobService, open()).getJob({ job }, call)).rejects.toMatchObject({ code: "REQUEST_INVALID" });
});

test("garbage on the port", async () => {
  const server = await serveForTest({ getJob });
  const attack = async (bytes: Buffer) => {
    const socket = connect(server.server.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    await once(socket, "connect");
    const closed = once(socket, "close");
    socket.write(bytes);
    return { closed };
  };
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  for (const bytes of [
    Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    Buffer.alloc(70_000, 0xa5),
    Buffer.concat([preface, Buffer.alloc(5_000, 0xff)]),
  ]) {
    await (
      await attack(bytes)
    ).closed;
  }
  const settings = Buffer.from("000000040000000000", "hex");
  const silent = [
    await attack(Buffer.alloc(0)),
    await attack(Buffer.concat([preface, settings, Buffer.from("00000501250000000182", "hex")])),
  ];
  await expectAlive(server);
  await server.server.stop(60_000); // which is not kept waiting by those who never say a thing
  for (const { closed } of silent) await closed;
});

test("more connections than allowed are closed at once", async () => {
  const server = await serveForTest({ getJob }, {}, { connectionsMax: 1 });
  const first = grpcClient(JobService, server.open());
  await first.getJob(flowers, call);
  await expect(grpcClient(JobService, server.open()).getJob(flowers, call)).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
  await first.getJob(flowers, call);
});

test("versions of the contract", async () => {
  const server = await serveForTest({ getJob }, { claimTask: async () => ({ kind: "done" }) });
  const channel = server.open();
  const version = (text?: string): Metadata => {
    const metadata = new Metadata();
    if (text !== undefined) metadata.set("graft-contract", text);
    return metadata;
  };
  const get = Buffer.from(toBinary(GetJobRequestSchema, create(GetJobRequestSchema, flowers)));
  const claim = "/graft.v1.WorkService/ClaimTask";
  const details =
    "WorkService: the server speaks version 1 of the contract, the caller version 0; run the same version of graft on both sides";
  await expect(rawCall(channel, claim, Buffer.alloc(0), version("0"))).rejects.toMatchObject({ code: 9, details });
  await expect(rawCall(channel, claim, Buffer.alloc(0), version())).rejects.toMatchObject({ code: 9 });
  await expect(rawCall(channel, "/graft.v1.JobService/GetJob", get, version("2"))).rejects.toMatchObject({ code: 9 });
  await rawCall(channel, "/graft.v1.JobService/GetJob", get, version()); // programs in other languages need not know of it
  const old = { ...channel, metadata: version("0") };
  await expect(grpcClient(WorkService, old).claimTask({ worker: "w", profile }, call)).rejects.toMatchObject({ code: "CONTRACT_MISMATCH" });
});

/** The health of a service, as a probe asks for it. */
async function health(channel: GrpcChannel, name: string): Promise<unknown> {
  const { path, requestSerialize, responseDeserialize } = healthDefinition["Check"]!;
  const answer = await rawCall(channel, path, requestSerialize({ service: name }), new Metadata());
  return (responseDeserialize(answer) as unknown as { status: unknown }).status;
}

test("health says what it is told", async () => {
  const { server, open } = await serveForTest({});
  const channel = open();
  expect(await health(channel, "")).toBe("SERVING");
  expect(await health(channel, "graft.v1.WorkService")).toBe("SERVING");
  server.setServing(false);
  expect(await health(channel, "")).toBe("NOT_SERVING");
  expect(await health(channel, "graft.v1.JobService")).toBe("NOT_SERVING");
  server.setServing(true);
  expect(await health(channel, "")).toBe("SERVING");
  await expect(health(channel, "graft.v1.Nothing")).rejects.toMatchObject({ code: 5 });
});

/** `buf curl`: a client that knows nothing of graft but what reflection tells it. */
async function curl(server: TestServer, ...args: string[]): Promise<{ code: number | null; out: string; error: string }> {
  const [path, ...flags] = args.reverse();
  const url = `http://${server.address}${path}`;
  const common = ["node_modules/@bufbuild/buf/bin/buf", "curl", "--http2-prior-knowledge", "--protocol", "grpc"];
  const child = spawn(process.execPath, [...common, ...flags.reverse(), url], { stdio: ["ignore", "pipe", "pipe"] });
  const read = async (stream: AsyncIterable<unknown>): Promise<string> => {
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    return text;
  };
  const [out, error] = await Promise.all([read(child.stdout), read(child.stderr), once(child, "close")]);
  return { code: child.exitCode, out, error };
}

test("a reflection client finds the services and calls them", async () => {
  const server = await serveForTest({
    getJob,
    planJob: async () => {
      throw specInvalid("job", [{ path: "training.steps", message: "must be at least 1, found 0" }]);
    },
  });
  const list = await curl(server, "--list-methods", "/");
  expect(list.error).toBe("");
  expect(list.out.split("\n")).toEqual(expect.arrayContaining(["graft.v1.JobService/WatchJob", "graft.v1.WorkService/ClaimTask"]));
  const found = await curl(server, "-d", JSON.stringify({ job: { name: "flowers" } }), "/graft.v1.JobService/GetJob");
  expect(JSON.parse(found.out)).toEqual({ job: resource });
  const planned = await curl(server, "-d", JSON.stringify({ job: { spec: { dataset: { source: "x" } } } }), "/graft.v1.JobService/PlanJob");
  expect(planned.code).not.toBe(0);
  expect(planned.error).toContain("invalid_argument");
  const [, details = ""] = /"google.rpc.BadRequest",\s*"value": "([^"]+)"/.exec(planned.error) ?? [];
  expect(fromBinary(BadRequestSchema, Buffer.from(details, "base64")).fieldViolations).toMatchObject([
    { field: "training.steps", description: "must be at least 1, found 0" },
  ]);
});

test("a stop ends what waits, finishes what works, and hangs on nothing", async () => {
  const working = deferred();
  const result = deferred<"committed">();
  const { server, open } = await serveForTest(
    {
      watchJob: async function* () {
        yield resource;
        await new Promise(() => undefined);
      },
    },
    {
      claimTask: () => new Promise(() => undefined),
      commitTask: () => {
        working.resolve();
        return result.promise;
      },
    },
  );
  const channel = open();
  const work = grpcClient(WorkService, channel);
  const watch = grpcClient(JobService, channel).watchJob(flowers, call)[Symbol.asyncIterator]();
  await watch.next();
  const stateAfter = watch.next();
  const claim = work.claimTask({ worker: "w", profile }, call);
  const lease = { jobId: "j", task: 0, lease: "l", worker: "w" };
  const commit = work.commitTask({ ...lease, imageIds: Buffer.alloc(0), extracted: 0, cached: 0 }, call);
  const { path } = healthDefinition["Watch"]!;
  const probe = channel.client.makeServerStreamRequest(
    path,
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => bytes,
    Buffer.alloc(0),
    new Metadata(),
  );
  probe.resume();
  const probeEnd = once(probe, "error");
  await working.promise;

  const stopped = server.stop(60_000);
  const unavailable = { code: "SERVER_UNAVAILABLE", message: "the server stops; ask again, it may be back soon" };
  await Promise.all([expect(stateAfter).rejects.toMatchObject(unavailable), expect(claim).rejects.toMatchObject(unavailable)]);
  expect(await probeEnd).toMatchObject([{ code: 14 }]);
  result.resolve("committed");
  expect(await commit).toMatchObject({ outcome: 0 });
  await stopped;
  await server.stop(60_000);
  await expect(grpcClient(JobService, open()).getJob(flowers, call)).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" });
});

test("a call that never ends is cut when the time to stop is over", async () => {
  const working = deferred();
  const { server, open } = await serveForTest({
    getJob: () => {
      working.resolve();
      return new Promise(() => undefined);
    },
  });
  const get = grpcClient(JobService, open()).getJob(flowers, call);
  await working.promise;
  await Promise.all([server.stop(10), expect(get).rejects.toMatchObject({ code: "SERVER_UNAVAILABLE" })]);
});

test("an address that is taken, or none", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void taken.close());
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const settings = { access: everyone, services: [], onUnexpected: () => undefined };
  await expect(serveGrpc({ ...settings, address: `127.0.0.1:${port}` })).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: `127.0.0.1:${port}: cannot listen there (EADDRINUSE); take another address`,
  });
  for (const address of ["127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:1", "::1:7070", ""]) {
    await expect(serveGrpc({ ...settings, address })).rejects.toBeInstanceOf(CodedError);
  }
});
