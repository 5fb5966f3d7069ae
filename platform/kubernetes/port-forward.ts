import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { Writable } from "node:stream";
import { PortForward } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import type { Kubernetes } from "./kubernetes.js";

export interface PodPort {
  readonly namespace: string;
  readonly pod: string;
  readonly port: number;
}

export interface Forwarding {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Why the latest connection came to nothing; undefined once one was answered. */
  readonly lastFailure: () => CodedError | undefined;
  readonly close: () => Promise<void>;
}

/**
 * Forwards a free port of this machine to a port of a pod, through the API server. Each connection asks anew which pod that is, so that whoever connects again after a pod was replaced
 * reaches the new one.
 */
export async function openPortForward(kubernetes: Kubernetes, target: () => Promise<PodPort>): Promise<Forwarding> {
  const sockets = new Set<Socket>();
  let lastFailure: CodedError | undefined;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    forward(kubernetes, socket, target, (failure) => (lastFailure = failure)).catch((error: unknown) => {
      lastFailure =
        error instanceof CodedError ? error : new CodedError("CLUSTER_UNAVAILABLE", `Kubernetes: port-forward: ${String(error)}`);
      socket.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    lastFailure: () => lastFailure,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a server with TLS does to a client without. */
const closedAtOnce = "closed the connection without an answer; where it speaks TLS, give the authority of its certificate with --ca";

/** What is used of a WebSocket. */
interface PodConnection {
  onclose: (() => void) | null;
  onerror: (() => void) | null;
  close(): void;
}

async function forward(
  kubernetes: Kubernetes,
  socket: Socket,
  target: () => Promise<PodPort>,
  settled: (failure: CodedError | undefined) => void,
): Promise<void> {
  const { namespace, pod, port } = await target();
  const what = `port ${String(port)} of pod ${namespace}/${pod}`;
  let isAnswered = false;
  const fromPod = new Writable({
    write(chunk: Buffer, _encoding, done) {
      // The first message holds the port's number and nothing else.
      if (chunk.length === 0) return done();
      if (!isAnswered) settled(undefined);
      isAnswered = true;
      socket.write(chunk, () => done()); // a socket that is gone ends the connection below
    },
  });
  let refused = "";
  const errors = new Writable({
    write(chunk: Buffer, _encoding, done) {
      refused += chunk.toString("utf8");
      done();
    },
  });
  const connection = await connect(kubernetes, { namespace, pod, port }, { socket, fromPod, errors });
  connection.onerror = () => undefined; // it closes after that
  connection.onclose = () => {
    const found = refused === "" ? closedAtOnce : `does not answer: ${refused.trim()}`;
    if (!isAnswered && !socket.destroyed) settled(new CodedError("SERVER_UNAVAILABLE", `${what} ${found}`));
    socket.destroy();
  };
  if (socket.destroyed) connection.close();
  else socket.once("close", () => connection.close());
}

async function connect(
  kubernetes: Kubernetes,
  { namespace, pod, port }: PodPort,
  { socket, fromPod, errors }: { readonly socket: Socket; readonly fromPod: Writable; readonly errors: Writable },
): Promise<PodConnection> {
  try {
    const connection: unknown = await new PortForward(kubernetes.config).portForward(namespace, pod, [port], fromPod, errors, socket);
    return connection as PodConnection;
  } catch (error) {
    throw refusedConnection(`${namespace}/${pod}`, namespace, error);
  }
}

/** The WebSocket's client says only the status of what refused it. */
function refusedConnection(pod: string, namespace: string, error: unknown): CodedError {
  const text = (error as { readonly message?: unknown } | undefined)?.message;
  const said = typeof text === "string" && text !== "" ? text : String(error);
  const [, status] = /Unexpected server response: (\d+)/.exec(said) ?? [];
  const message = `Kubernetes: port-forward to pod ${pod}: ${said}`;
  if (status === "403" || status === "401")
    return new CodedError(
      "CLUSTER_REFUSED",
      `${message}; missing is the right to "get" and "create" on "pods/portforward" in namespace ${namespace}: an administrator gives it by a Role there, or give the coordinator's address with --server`,
      { status: Number(status) },
    );
  return new CodedError(status === "404" ? "CLUSTER_NOT_FOUND" : "CLUSTER_UNAVAILABLE", message);
}
