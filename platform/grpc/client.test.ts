import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall, type ServerWritableStream } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { JobService } from "../../proto/gen/graft/v1/job_service_pb.js";
import { grpcClient, openChannel } from "./client.js";
import { methodPath } from "./service.js";

/** A server that notes the tokens of two methods, and a client with tokens from a function. */
async function setup(freshToken: () => Promise<string>) {
  const sent: unknown[] = [];
  const server = new Server();
  const asItIs = (bytes: Buffer): Buffer => bytes;
  const codecs = { requestSerialize: asItIs, requestDeserialize: asItIs, responseSerialize: asItIs, responseDeserialize: asItIs };
  const { getJob, watchJob } = JobService.method;
  server.addService(
    {
      getJob: { path: methodPath(getJob), requestStream: false, responseStream: false, ...codecs },
      watchJob: { path: methodPath(watchJob), requestStream: false, responseStream: true, ...codecs },
    },
    {
      getJob: ({ metadata }: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        sent.push(...metadata.get("authorization"));
        answer(null, Buffer.alloc(0));
      },
      watchJob: (call: ServerWritableStream<Buffer, Buffer>) => {
        sent.push(...call.metadata.get("authorization"));
        call.end();
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const channel = openChannel({ address: `127.0.0.1:${String(port)}`, tls: "plaintext", freshToken });
  onTestFinished(() => {
    channel.close();
    server.forceShutdown();
  });
  return { client: grpcClient(JobService, channel), sent };
}

const call = { deadlineMs: 10_000 };

test("a function is asked for its token before each call", async () => {
  let asked = 0;
  const { client, sent } = await setup(() => Promise.resolve(`token-${String(++asked)}`));
  await client.getJob({}, call);
  for await (const _ of client.watchJob({}, call)) expect.unreachable();
  await client.getJob({}, call);
  expect(sent).toEqual(["Bearer token-1", "Bearer token-2", "Bearer token-3"]);
});

test("a token that no header can hold, none at all, and a call that ends while it is waited for send nothing", async () => {
  let next: () => Promise<string> = () => Promise.resolve("secret\n");
  const { client, sent } = await setup(() => next());
  await expect(client.getJob({}, call)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  next = () => Promise.reject(new Error("no token for you"));
  await expect(client.getJob({}, call)).rejects.toThrow("no token for you");
  const ended = new AbortController();
  next = () => {
    ended.abort(new Error("gone"));
    return Promise.resolve("late");
  };
  await expect(client.getJob({}, { ...call, signal: ended.signal })).rejects.toThrow("gone");
  expect(sent).toEqual([]);
});
