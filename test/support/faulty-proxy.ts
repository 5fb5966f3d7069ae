import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";

/** What happens to a request on its way to a server over HTTP, or to its answer. */
export type Fault =
  /** The proxy answers itself, the server is not asked. */
  | { readonly kind: "status"; readonly status: number }
  /** The connection is reset before an answer. */
  | { readonly kind: "reset" }
  /** The server does what was asked, its answer is lost. */
  | { readonly kind: "answer lost" }
  /** Half of the body, and then nothing more. */
  | { readonly kind: "stalled body" }
  /** Half of the body, then the end of the connection. */
  | { readonly kind: "cut body" }
  /** Half of the body, with a length that says that this is all. */
  | { readonly kind: "short body" }
  /** One bit of the body is another. */
  | { readonly kind: "flipped bit" };

export interface Injected {
  /** How often it has happened. */
  count: number;
}

export interface FaultyProxy {
  readonly endpoint: string;
  /** The next `times` requests for which `applies` holds meet this fault. */
  readonly inject: (fault: Fault, times: number, applies?: (method: string, path: string) => boolean) => Injected;
  /** A cut network: nothing passes in either direction, nobody is told. */
  readonly cut: () => void;
  readonly mend: () => void;
  /** Requests so far that came while the network was cut. */
  readonly heldUp: () => number;
  readonly stop: () => Promise<void>;
}

interface Plan {
  readonly fault: Fault;
  readonly applies: (method: string, path: string) => boolean;
  readonly injected: Injected;
  left: number;
}

/** A proxy in front of a server on the loopback. The Host header stays, so that signatures fit. */
export async function startFaultyProxy(serverPort: number): Promise<FaultyProxy> {
  const plans: Plan[] = [];
  let isCut = false;
  let heldUp = 0;
  let mended: (() => void)[] = [];
  const passable = async (): Promise<void> => {
    while (isCut) await new Promise<void>((resolve) => mended.push(resolve));
  };

  const handle = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    if (isCut) heldUp++;
    const body = await wholeOf(request);
    await passable();
    const { method = "", url = "" } = request;
    const plan = plans.find(({ left, applies }) => left > 0 && applies(method, url));
    if (plan !== undefined) {
      plan.left--;
      plan.injected.count++;
    }
    const fault = plan?.fault;
    if (fault?.kind === "status") {
      response.writeHead(fault.status, { "content-length": 0 }).end();
      return;
    }
    if (fault?.kind === "reset") {
      request.socket.resetAndDestroy();
      return;
    }
    const answer = await forward(serverPort, request, body);
    await passable();
    if (fault === undefined) {
      response.writeHead(answer.status, answer.headers).end(answer.body);
      return;
    }
    const half = answer.body.subarray(0, answer.body.length >> 1);
    if (fault.kind === "answer lost") request.socket.resetAndDestroy();
    else if (fault.kind === "stalled body") response.writeHead(answer.status, answer.headers).write(half);
    else if (fault.kind === "short body") response.writeHead(answer.status, { ...answer.headers, "content-length": half.length }).end(half);
    else if (fault.kind === "cut body") response.writeHead(answer.status, answer.headers).write(half, () => request.socket.destroy());
    else {
      const flipped = Buffer.from(answer.body);
      flipped[flipped.length >> 1]! ^= 1;
      response.writeHead(answer.status, answer.headers).end(flipped);
    }
  };

  const server = http.createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const mend = (): void => {
    isCut = false;
    const waiting = mended;
    mended = [];
    for (const resolve of waiting) resolve();
  };
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    inject: (fault, times, applies = () => true) => {
      const plan = { fault, applies, left: times, injected: { count: 0 } };
      plans.push(plan);
      return plan.injected;
    },
    cut: () => (isCut = true),
    mend,
    heldUp: () => heldUp,
    stop: async () => {
      mend();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function wholeOf(stream: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function forward(
  port: number,
  { method, url, headers }: http.IncomingMessage,
  body: Buffer,
): Promise<{ readonly status: number; readonly headers: http.IncomingHttpHeaders; readonly body: Buffer }> {
  const sent = http.request({ host: "127.0.0.1", port, method, path: url, headers, agent: false });
  sent.end(body);
  const [answer] = (await once(sent, "response")) as [http.IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await wholeOf(answer) };
}
