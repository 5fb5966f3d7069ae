import { createServer, connect, type AddressInfo, type Socket } from "node:net";

/** A wire to a server on the loopback that can be cut: then bytes go in and do not come out, and nobody is told. */
export interface TcpProxy {
  readonly port: number;
  readonly cut: () => void;
  readonly mend: () => void;
  /** Bytes that came from either side while the wire was cut. */
  readonly heldBytes: () => number;
  /** Ends every connection that there is. */
  readonly reset: () => void;
  readonly stop: () => void;
}

/** `port()` is asked for each connection: a server that was restarted may have another one. */
export async function startTcpProxy(port: () => number): Promise<TcpProxy> {
  let isCut = false;
  let heldBytes = 0;
  const held: (() => void)[] = [];
  const sockets = new Set<Socket>();
  const pipe = (from: Socket, to: Socket): void => {
    from.on("data", (bytes) => {
      if (!isCut) to.write(bytes);
      else {
        heldBytes += bytes.length;
        held.push(() => to.write(bytes));
      }
    });
    // Ends and resets do not pass a cut wire either.
    const close = (): void => {
      if (isCut) held.push(() => to.destroy());
      else to.destroy();
      sockets.delete(from);
    };
    from.on("close", close).on("error", () => undefined);
  };
  const server = createServer((client) => {
    const upstream = connect(port(), "127.0.0.1");
    sockets.add(client).add(upstream);
    pipe(client, upstream);
    pipe(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => (isCut = true),
    mend: () => {
      isCut = false;
      for (const pass of held.splice(0)) pass();
    },
    heldBytes: () => heldBytes,
    reset: () => {
      for (const socket of sockets) socket.destroy();
    },
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
