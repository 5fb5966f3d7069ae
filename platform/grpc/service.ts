import {
  create,
  fromBinary,
  toBinary,
  type DescMethod,
  type DescService,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type {
  Metadata,
  sendUnaryData,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { CodedError } from "../../domain/errors.js";
import type { Audience, Caller } from "../access/access.js";
import { statusOf } from "./errors.js";

export interface CallContext {
  readonly caller: Caller;
  /** Aborts when the caller has gone, its deadline is over or the server stops; never in unary calls that are not among those that may wait. */
  readonly signal: AbortSignal;
}

/** A function for each method of a service, in terms of protobuf-es. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends { methodKind: "server_streaming" }
    ? (request: MessageShape<S["method"][K]["input"]>, context: CallContext) => AsyncIterable<MessageInitShape<S["method"][K]["output"]>>
    : (request: MessageShape<S["method"][K]["input"]>, context: CallContext) => Promise<MessageInitShape<S["method"][K]["output"]>>;
};

export interface ServiceSettings<S extends DescService> {
  readonly audience: Audience;
  /** Whether a caller has to say which version of the contract it speaks; a wrong one is refused in any case. */
  readonly contract: "required" | "optional";
  /** Unary calls that may wait for long. They, and all streams, end when the server stops; the others are finished. */
  readonly waiting: readonly (keyof S["method"])[];
}

/** What a server gives to the services on it. */
export interface ServerHooks {
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
  /** Whose call has this metadata. */
  readonly callerOf: (metadata: Metadata) => Caller;
  /** Failures that nobody expected; the client sees nothing of them. */
  readonly onUnexpected: (error: unknown, method: string) => void;
}

/** A service that a server can offer. */
export interface GrpcService {
  readonly descriptor: DescService;
  readonly audience: Audience;
  readonly contract: "required" | "optional";
  readonly definition: ServiceDefinition;
  implement(hooks: ServerHooks): UntypedServiceImplementation;
}

type UnaryHandler = (request: unknown, context: CallContext) => Promise<unknown>;
type StreamHandler = (request: unknown, context: CallContext) => AsyncIterable<unknown>;

/** Makes a service of handlers. Messages are encoded and decoded here, so that what is wrong with them has a code too. */
export function grpcService<S extends DescService>(descriptor: S, settings: ServiceSettings<S>, handlers: Handlers<S>): GrpcService {
  const untyped = handlers as Record<string, UnaryHandler | StreamHandler>;
  const waiting = new Set<PropertyKey>(settings.waiting);
  return {
    descriptor,
    audience: settings.audience,
    contract: settings.contract,
    definition: Object.fromEntries(descriptor.methods.map((method) => [method.localName, methodDefinition(method)])),
    implement: (hooks) =>
      Object.fromEntries(
        descriptor.methods.map((method): [string, UntypedHandleCall] => {
          const handler = untyped[method.localName];
          if (method.methodKind === "server_streaming") return [method.localName, serveStream(method, handler as StreamHandler, hooks)];
          return [method.localName, serveUnary(method, handler as UnaryHandler, hooks, waiting.has(method.localName))];
        }),
      ),
  };
}

/** `/graft.v1.JobService/GetJob` */
export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function methodDefinition(method: DescMethod) {
  const asItIs = (bytes: Buffer): Buffer => bytes;
  return {
    path: methodPath(method),
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: asItIs,
    requestDeserialize: asItIs,
    responseSerialize: asItIs,
    responseDeserialize: asItIs,
  };
}

function serveUnary(method: DescMethod, handler: UnaryHandler, { stopping, callerOf, onUnexpected }: ServerHooks, waits: boolean) {
  return (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void => {
    // A signal and the error that it ends with (the server says "cancelled" of every call that is over) take longer to make than most calls to answer: only for those that wait.
    const { signal, release } = waits ? callSignal(call, method, stopping) : unaborted;
    const answer = async (): Promise<Buffer> => {
      const response = handler(decode(method, call.request), { signal, caller: callerOf(call.metadata) });
      return encode(method, await (waits ? orAborted(response, signal) : response));
    };
    answer()
      .then(
        (response) => callback(null, response),
        (error: unknown) => {
          if (!(error instanceof CodedError)) onUnexpected(error, methodPath(method));
          callback(statusOf(error));
        },
      )
      .finally(release);
  };
}

function serveStream(method: DescMethod, handler: StreamHandler, { stopping, callerOf, onUnexpected }: ServerHooks) {
  return (call: ServerWritableStream<Buffer, Buffer>): void => {
    const { signal, release } = callSignal(call, method, stopping);
    const send = async (): Promise<void> => {
      const messages = handler(decode(method, call.request), { signal, caller: callerOf(call.metadata) })[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await orAborted(messages.next(), signal);
          if (next.done === true) return;
          // A reader that is slow makes the handler wait, so that no more than a message is held for it.
          if (!call.write(encode(method, next.value))) await drained(call, signal);
        }
      } finally {
        void messages.return?.().then(undefined, () => undefined); // not awaited: what it waits for may never come
      }
    };
    send()
      .then(
        () => call.end(),
        (error: unknown) => {
          const failure: unknown = signal.aborted ? signal.reason : error;
          if (!(failure instanceof CodedError)) onUnexpected(failure, methodPath(method));
          call.emit("error", statusOf(failure));
        },
      )
      .finally(release);
  };
}

/** Aborts when the caller has gone or, where that is given, the server stops. */
function callSignal(
  call: ServerUnaryCall<Buffer, Buffer> | ServerWritableStream<Buffer, Buffer>,
  method: DescMethod,
  stopping?: AbortSignal,
) {
  const controller = new AbortController();
  const gone = (): void => controller.abort(new CodedError("INTERRUPTED", `${method.name}: the caller has gone or its deadline is over`));
  call.on("cancelled", gone);
  if (call.cancelled) gone();
  const stop = (): void => controller.abort(new CodedError("SERVER_UNAVAILABLE", "the server stops; ask again, it may be back soon"));
  stopping?.addEventListener("abort", stop, { once: true });
  if (stopping?.aborted === true) stop();
  return { signal: controller.signal, release: () => stopping?.removeEventListener("abort", stop) };
}

const unaborted = { signal: new AbortController().signal, release: (): void => undefined };

/** The promise, or the signal's reason as soon as it aborts. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function drained(call: ServerWritableStream<Buffer, Buffer>, signal: AbortSignal): Promise<void> {
  let proceed: () => void = () => undefined;
  const drain = new Promise<void>((resolve) => {
    proceed = resolve;
    call.once("drain", resolve);
  });
  return orAborted(drain, signal).finally(() => call.off("drain", proceed));
}

function decode(method: DescMethod, bytes: Buffer): unknown {
  try {
    return fromBinary(method.input, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)); // not a Buffer: nor are its fields then
  } catch (cause) {
    const found = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError(
      "REQUEST_INVALID",
      `${method.name}: expected a ${method.input.typeName}, found ${bytes.length} bytes that are none (${found})`,
    );
  }
}

function encode(method: DescMethod, init: unknown): Buffer {
  return Buffer.from(toBinary(method.output, create(method.output, init as MessageInitShape<typeof method.output>)));
}
