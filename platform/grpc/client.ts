import {
  create,
  fromBinary,
  toBinary,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ClientReadableStream, type ServiceError } from "@grpc/grpc-js";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { parseAddress, refuseForeignPlaintext } from "./address.js";
import { CONTRACT_HEADER, CONTRACT_VERSION } from "./contract.js";
import { errorOf } from "./errors.js";
import { refuseBadPem } from "./pem.js";
import { methodPath } from "./service.js";

export interface ChannelSettings {
  /** `host:port` */
  readonly address: string;
  /** "plaintext" only to a loopback address, or with `allowPlaintext`. */
  readonly tls: ClientTls | "plaintext";
  readonly allowPlaintext?: boolean;
  /** A function is asked at every call: tokens are exchanged while a channel is open. */
  readonly token?: string | (() => string);
  /** Asked and waited for before each call, where the next token comes over the network; instead of `token`. */
  readonly freshToken?: () => Promise<string>;
}

/** All in PEM. */
export interface ClientTls {
  /** Certificates that may have signed the server's; absent: those that come with Node. */
  readonly ca?: Uint8Array;
  /** The client's own, where the server asks for one. */
  readonly own?: { readonly certificate: Uint8Array; readonly key: Uint8Array };
  /** The name in the server's certificate, where it is not the address's. */
  readonly serverName?: string;
}

/** A connection to one server, made when it is first needed and made anew when it is lost. */
export interface GrpcChannel {
  readonly address: string;
  readonly client: Client;
  /** What a call that begins now is sent with. */
  readonly metadata: Metadata;
  /** To be waited for before a call begins; absent where there is nothing to wait for. */
  readonly prepare?: () => Promise<void>;
  close(): void;
}

export interface CallSettings {
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** A function for each method of a service. Unary calls reject, streams throw: a CodedError, or the reason of the signal. */
export type GrpcClient<S extends DescService> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends { methodKind: "server_streaming" }
    ? (request: MessageInitShape<S["method"][K]["input"]>, settings: CallSettings) => AsyncIterable<MessageShape<S["method"][K]["output"]>>
    : (request: MessageInitShape<S["method"][K]["input"]>, settings: CallSettings) => Promise<MessageShape<S["method"][K]["output"]>>;
};

/** Opens a channel; whether somebody answers is seen at the first call. @throws CodedError CONFIG_INVALID */
export function openChannel({ address, tls, allowPlaintext = false, token, freshToken }: ChannelSettings): GrpcChannel {
  parseAddress(address);
  if (tls === "plaintext") refuseForeignPlaintext(address, allowPlaintext);
  const metadata = new Metadata();
  metadata.set(CONTRACT_HEADER, CONTRACT_VERSION);
  let sent: string | undefined;
  const sendToken = (current: string): void => {
    if (current === sent) return;
    if (!/^[\x21-\x7e]+$/.test(current)) {
      throw new CodedError(
        "CONFIG_INVALID",
        "token: must be printable ASCII without blanks and line ends; check the file that it comes from",
      );
    }
    metadata.set("authorization", `Bearer ${current}`);
    sent = current;
  };
  if (token !== undefined) sendToken(typeof token === "string" ? token : token());
  const client = new Client(address, tls === "plaintext" ? credentials.createInsecure() : tlsCredentials(tls), {
    "grpc.max_receive_message_length": limits.grpcMessageBytes,
    "grpc.max_send_message_length": limits.grpcMessageBytes,
    "grpc.keepalive_time_ms": limits.grpcKeepaliveMs,
    "grpc.keepalive_timeout_ms": limits.grpcKeepaliveTimeoutMs,
    "grpc.initial_reconnect_backoff_ms": limits.retryFirstDelayMs,
    "grpc.max_reconnect_backoff_ms": limits.coordinatorRetryMs,
    "grpc.use_local_subchannel_pool": 1, // one channel, one connection: streams of one never wait for those of another
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    ...(tls !== "plaintext" && tls.serverName !== undefined
      ? { "grpc.ssl_target_name_override": tls.serverName, "grpc.default_authority": tls.serverName }
      : {}),
  });
  return {
    address,
    client,
    get metadata() {
      if (typeof token === "function") sendToken(token());
      return metadata;
    },
    ...(freshToken && { prepare: async () => sendToken(await freshToken()) }),
    close: () => client.close(),
  };
}

/** The calls of a service over a channel, typed. */
export function grpcClient<S extends DescService>(service: S, channel: GrpcChannel): GrpcClient<S> {
  const calls = service.methods.map((method) => [
    method.localName,
    method.methodKind === "server_streaming"
      ? (request: object, settings: CallSettings) => callStream(channel, method, request, settings)
      : (request: object, settings: CallSettings) => callUnary(channel, method, request, settings),
  ]);
  return Object.fromEntries(calls) as GrpcClient<S>;
}

async function callUnary(channel: GrpcChannel, method: DescMethod, request: object, settings: CallSettings): Promise<unknown> {
  const { deadlineMs, signal } = settings;
  signal?.throwIfAborted();
  if (channel.prepare !== undefined) {
    await channel.prepare();
    signal?.throwIfAborted();
  }
  const { client, metadata } = channel;
  const options = { deadline: deadlineIn(deadlineMs) };
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const done = (error: ServiceError | null, response: Buffer = Buffer.alloc(0)): void => {
      signal?.removeEventListener("abort", cancel);
      if (error === null) resolve(response);
      else reject(failure(error, channel, method, signal));
    };
    const call = client.makeUnaryRequest(methodPath(method), asItIs, asItIs, encode(method, request), metadata, options, done);
    const cancel = (): void => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
  return decode(method, bytes);
}

async function* callStream(
  channel: GrpcChannel,
  method: DescMethod,
  request: object,
  { deadlineMs, signal }: CallSettings,
): AsyncGenerator<unknown, void> {
  signal?.throwIfAborted();
  if (channel.prepare !== undefined) {
    await channel.prepare();
    signal?.throwIfAborted();
  }
  const options = { deadline: deadlineIn(deadlineMs) };
  const call: ClientReadableStream<Buffer> = channel.client.makeServerStreamRequest(
    methodPath(method),
    asItIs,
    asItIs,
    encode(method, request),
    channel.metadata,
    options,
  );
  call.on("error", () => undefined); // the loop below sees it; one that comes after the loop was left concerns nobody
  const cancel = (): void => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for await (const bytes of call as AsyncIterable<Buffer>) yield decode(method, bytes);
  } catch (error) {
    throw isServiceError(error) ? failure(error, channel, method, signal) : error;
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}

function tlsCredentials({ ca, own }: ClientTls) {
  refuseBadPem({ ...own, ca });
  const pem = (bytes: Uint8Array | undefined): Buffer | null => (bytes === undefined ? null : Buffer.from(bytes));
  return credentials.createSsl(pem(ca), pem(own?.key), pem(own?.certificate));
}

function failure(error: ServiceError, { address }: GrpcChannel, method: DescMethod, signal: AbortSignal | undefined): Error {
  if (signal?.aborted === true) return signal.reason as Error;
  return errorOf(error, address, method.name);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number";
}

function decode(method: DescMethod, bytes: Buffer): unknown {
  try {
    return fromBinary(method.output, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)); // not a Buffer: nor are its fields then
  } catch (cause) {
    throw new CodedError(
      "CONTRACT_MISMATCH",
      `${method.name}: the answer is no ${method.output.typeName}; run the same version of graft on both sides`,
      {},
      cause,
    );
  }
}

function encode(method: DescMethod, init: object): Buffer {
  return Buffer.from(toBinary(method.input, create(method.input, init as MessageInitShape<typeof method.input>)));
}

function asItIs(bytes: Buffer): Buffer {
  return bytes;
}

/** gRPC takes points in the machine's own time. */
function deadlineIn(durationMs: number): Date {
  return new Date(Date.now() + durationMs);
}
