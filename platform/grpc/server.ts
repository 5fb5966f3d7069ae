import assert from "node:assert";
import { setMaxListeners } from "node:events";
import { createServer, type Server as NetServer, type Socket } from "node:net";
import {
  ResponderBuilder,
  Server,
  ServerCredentials,
  ServerInterceptingCall,
  ServerListenerBuilder,
  type ServerInterceptor,
  type handleUnaryCall,
  type Metadata,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import { parseAddress, refuseForeignPlaintext } from "./address.js";
import type { Access, Caller } from "../access/access.js";
import { admission } from "./admission.js";
import { statusOf } from "./errors.js";
import { refuseBadPem } from "./pem.js";
import { reflection } from "./reflection.js";
import type { GrpcService } from "./service.js";

export interface ServerSettings {
  /** `host:port`; port 0 takes a free one. */
  readonly address: string;
  /** Absent: plaintext, only on a loopback address or with `allowPlaintext`. */
  readonly tls?: ServerTls | undefined;
  readonly allowPlaintext?: boolean;
  readonly access: Access;
  readonly services: readonly GrpcService[];
  /** Default limits.grpcConnections. */
  readonly connectionsMax?: number;
  /** A failure that nobody expected; the client is told no more than that. */
  readonly onUnexpected: (error: unknown, method: string) => void;
}

/** All in PEM. */
export interface ServerTls {
  readonly certificate: Uint8Array;
  readonly key: Uint8Array;
  /** Every client must then have a certificate that this one signed. */
  readonly clientCa?: Uint8Array | undefined;
}

export interface RunningServer {
  readonly port: number;
  /** What the health service says from now on, for the whole and for each service; "SERVING" at the start. */
  setServing(serving: boolean): void;
  /**
   * Takes no more calls, ends those that wait (long polls, watches) with UNAVAILABLE, lets the others finish, and cuts what is left after `graceMs`.
   * May be called twice.
   */
  stop(graceMs: number): Promise<void>;
}

/** Starts a gRPC server with health and reflection service. @throws CodedError CONFIG_INVALID */
export async function serveGrpc(settings: ServerSettings): Promise<RunningServer> {
  const { address, tls, allowPlaintext = false, access, services, onUnexpected, connectionsMax = limits.grpcConnections } = settings;
  if (tls === undefined) refuseForeignPlaintext(address, allowPlaintext);
  const stopping = new AbortController();
  const underWay = new UnderWay();
  const callers = new WeakMap<Metadata, Caller>();
  const onAdmitted = (metadata: Metadata, caller: Caller): void => void callers.set(metadata, caller);
  const callerOf = (metadata: Metadata): Caller => {
    const caller = callers.get(metadata);
    assert(caller !== undefined, "no call comes to its handler that was not let in");
    return caller;
  };
  setMaxListeners(0, stopping.signal); // every call that waits listens

  // 1. What can be called.
  const server = new Server({
    "grpc.max_receive_message_length": limits.grpcMessageBytes,
    "grpc.max_send_message_length": limits.grpcMessageBytes,
    "grpc.max_concurrent_streams": limits.grpcStreams,
    "grpc.keepalive_time_ms": limits.grpcKeepaliveMs,
    "grpc.keepalive_timeout_ms": limits.grpcKeepaliveTimeoutMs,
    interceptors: [endForeignStreams(services, stopping.signal), admission({ services, access, onAdmitted, onUnexpected })],
  });
  for (const service of services)
    server.addService(
      service.definition,
      counted(service, service.implement({ stopping: stopping.signal, callerOf, onUnexpected }), underWay),
    );
  const health = new HealthImplementation();
  const setServing = (serving: boolean): void => {
    for (const name of ["", ...services.map(({ descriptor }) => descriptor.typeName)])
      health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
  };
  setServing(true);
  health.addToServer(server);
  reflection(services).addToServer(server);

  // 2. The port. A listener of our own, because gRPC's has no bound on connections.
  const connections = server.createConnectionInjector(serverCredentials(tls));
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    connections.injectConnection(socket);
  });
  listener.maxConnections = connectionsMax;
  const port = await listen(listener, address);

  // 3. The end.
  let stopped: Promise<void> | undefined;
  const stop = async (graceMs: number): Promise<void> => {
    setServing(false);
    listener.close();
    stopping.abort(new CodedError("SERVER_UNAVAILABLE", "the server stops; ask again, it may be back soon"));
    await underWay.ended(graceMs);
    await finished(server, graceMs);
    server.forceShutdown();
    for (const socket of sockets) socket.destroy(); // those that never came to speak HTTP/2
  };
  return { port, setServing, stop: (graceMs) => (stopped ??= stop(graceMs)) };
}

/** Streams of services that are not ours (health, reflection) would keep a server from stopping for as long as their clients like. */
function endForeignStreams(services: readonly GrpcService[], stopping: AbortSignal): ServerInterceptor {
  const ours = services.map(({ descriptor }) => `/${descriptor.typeName}/`);
  return (method, call) => {
    if (!method.responseStream || ours.some((prefix) => method.path.startsWith(prefix))) return new ServerInterceptingCall(call);
    const end = (): void => call.sendStatus(statusOf(stopping.reason));
    stopping.addEventListener("abort", end, { once: true });
    const listener = new ServerListenerBuilder().withOnCancel(() => stopping.removeEventListener("abort", end)).build();
    return new ServerInterceptingCall(call, new ResponderBuilder().withStart((next) => next(listener)).build());
  };
}

function serverCredentials(tls: ServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { certificate, key, clientCa } = tls;
  refuseBadPem({ certificate, key, ca: clientCa });
  const pair = { cert_chain: Buffer.from(certificate), private_key: Buffer.from(key) };
  return ServerCredentials.createSsl(clientCa === undefined ? null : Buffer.from(clientCa), [pair], clientCa !== undefined);
}

function listen(listener: NetServer, address: string): Promise<number> {
  const { host, port } = parseAddress(address);
  return new Promise((resolve, reject) => {
    listener.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        new CodedError(
          "CONFIG_INVALID",
          `${address}: cannot listen there (${cause.code ?? cause.message}); take another address`,
          {},
          cause,
        ),
      ),
    );
    listener.listen({ host, port }, () => {
      const bound = listener.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : port);
    });
  });
}

/** Until the last answer is on its way. */
const LAST_ANSWER_MS = 100;

/** Unary calls that have not been answered. From Node 24 on a server that closes drops their connections at once, so it closes after them. */
class UnderWay {
  private count = 0;
  private wake: () => void = () => undefined;

  begin(): () => void {
    this.count++;
    return () => {
      if (--this.count === 0) setTimeout(() => this.wake(), LAST_ANSWER_MS);
    };
  }

  async ended(graceMs: number): Promise<void> {
    if (this.count === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function counted(
  { definition }: GrpcService,
  implementation: UntypedServiceImplementation,
  underWay: UnderWay,
): UntypedServiceImplementation {
  return Object.fromEntries(
    Object.entries(implementation).map(([name, handler]): [string, UntypedHandleCall] => {
      if (definition[name]?.responseStream !== false) return [name, handler];
      const unary = handler as handleUnaryCall<unknown, unknown>;
      return [
        name,
        ((call, callback) => {
          const end = underWay.begin();
          unary(call, (...answer) => {
            callback(...answer);
            end();
          });
        }) satisfies handleUnaryCall<unknown, unknown> as UntypedHandleCall,
      ];
    }),
  );
}

/** Resolves once all calls are done, at the latest after `graceMs`. */
function finished(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
