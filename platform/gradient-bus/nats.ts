import {
  connect,
  errors,
  type NatsConnection,
  type NodeConnectionOptions,
  type Subscription as NatsSubscription,
} from "@nats-io/transport-node";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { GradientBus } from "./gradient-bus.js";

export interface NatsOptions {
  /** Addresses of one cluster, such as `nats://10.0.0.7:4222` or `tls://nats.example:4222`. */
  readonly servers: readonly string[];
  /** Shown by the server beside this connection. */
  readonly name: string;
  readonly credentials?: { readonly user: string; readonly password: string } | { readonly token: string };
  /** PEM texts; given, the connection is encrypted or refused. `ca` where the server's certificate is not signed by a known authority, `cert` and `key` where it asks for one. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** What a handler threw; ACCESS_DENIED or CONFIG_INVALID where the server refuses subjects or sizes after the start. Nothing of it ends the bus. */
  readonly onError: (error: unknown) => void;
  /** Told when the connection is lost and when it is back. */
  readonly onConnection?: (connected: boolean, server: string) => void;
}

export interface NatsGradientBus extends GradientBus {
  readonly connected: boolean;
  /** Since the start. Dropped is what was published while the server took nothing and limits.busPendingBytes were waiting already. */
  counters(): { readonly sentBytes: number; readonly receivedBytes: number; readonly droppedMessages: number };
}

/**
 * A bus on NATS core. Own messages reach own subscribers directly, so that the server sends each message to the others only. A lost connection is opened anew for ever; what is
 * published meanwhile is lost, or dropped beyond a bound.
 * @throws CodedError BUS_UNAVAILABLE, ACCESS_DENIED; CONFIG_INVALID where the server allows smaller messages only.
 */
export async function natsGradientBus(options: NatsOptions): Promise<NatsGradientBus> {
  const addresses = options.servers.join(", ");
  let connection: NatsConnection;
  try {
    connection = await connect(connectionOptions(options));
  } catch (cause) {
    if (cause instanceof errors.AuthorizationError || cause instanceof errors.UserAuthenticationExpiredError)
      throw new CodedError("ACCESS_DENIED", `NATS at ${addresses} refuses ${identity(options)}: ${cause.message}`, { addresses }, cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CodedError(
      "BUS_UNAVAILABLE",
      `NATS at ${addresses} cannot be reached (${reason}); is it running, and is the address right?`,
      { addresses },
      cause,
    );
  }
  const problem = tooSmall(connection, addresses);
  if (problem !== undefined) {
    await connection.close();
    throw problem;
  }
  return new NatsBus(connection, options);
}

type Handler = (payload: Uint8Array) => void;

class NatsBus implements NatsGradientBus {
  readonly payloadBytesMax = limits.exchangeMessageBytes;
  connected = true;
  readonly #connection: NatsConnection;
  readonly #options: NatsOptions;
  readonly #subjects = new Map<string, { readonly handlers: Set<Handler>; subscription: NatsSubscription }>();
  /** Own messages for own handlers. */
  #local: { readonly handlers: Set<Handler>; readonly handler: Handler; readonly payload: Uint8Array }[] = [];
  #localBytes = 0;
  #delivery: NodeJS.Immediate | undefined;
  /** Bytes that the server is not known to have taken … */
  #pendingBytes = 0;
  /** … and whether it has been asked. */
  #asked = false;
  #droppedMessages = 0;
  #closed = false;

  constructor(connection: NatsConnection, options: NatsOptions) {
    this.#connection = connection;
    this.#options = options;
    void this.#watch();
  }

  publish(subject: string, payload: Uint8Array): void {
    if (this.#closed) throw new Error(`the gradient bus is closed: nothing can be published to ${subject}`);
    if (payload.length > this.payloadBytesMax)
      throw new RangeError(`a message of ${payload.length} bytes to ${subject}; at most ${this.payloadBytesMax} are allowed`);
    this.#publishLocally(subject, payload);
    if (this.#pendingBytes + payload.length > limits.busPendingBytes) {
      this.#droppedMessages += 1;
      return;
    }
    try {
      this.#connection.publish(subject, payload);
    } catch (cause) {
      // The client refuses what a server that came back with another configuration would not take.
      this.#droppedMessages += 1;
      this.#options.onError(tooSmall(this.#connection, this.#connection.getServer()) ?? cause);
      return;
    }
    this.#pendingBytes += payload.length;
    if (!this.#asked && this.#pendingBytes > limits.busPendingBytes / 4) this.#ask();
  }

  subscribe(subject: string, handler: Handler): { unsubscribe(): void } {
    if (this.#closed) throw new Error(`the gradient bus is closed: nothing can be heard on ${subject}`);
    // A function of its own for each subscription, so that one handler may listen twice.
    const own: Handler = (payload) => handler(payload);
    let entry = this.#subjects.get(subject);
    if (entry === undefined) {
      const handlers = new Set<Handler>();
      entry = { handlers, subscription: this.#listen(subject, handlers) };
      this.#subjects.set(subject, entry);
    }
    const { handlers } = entry;
    handlers.add(own);
    return {
      unsubscribe: () => {
        handlers.delete(own);
        if (handlers.size > 0 || this.#subjects.get(subject) !== entry) return;
        this.#subjects.delete(subject);
        entry.subscription.unsubscribe();
      },
    };
  }

  counters(): { sentBytes: number; receivedBytes: number; droppedMessages: number } {
    const { outBytes, inBytes } = this.#connection.stats();
    return { sentBytes: outBytes, receivedBytes: inBytes, droppedMessages: this.#droppedMessages };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { handlers } of this.#subjects.values()) handlers.clear();
    this.#subjects.clear();
    this.#local = [];
    if (this.#delivery !== undefined) clearImmediate(this.#delivery);
    // Others may wait for what was published last.
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, limits.busCloseMs)));
    await Promise.race([this.#connection.flush().catch(() => undefined), timeout]);
    clearTimeout(timer);
    await this.#connection.close();
    transportOf(this.#connection)?.discard();
  }

  #listen(subject: string, handlers: Set<Handler>): NatsSubscription {
    return this.#connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return; // told by `status`, too
        // A small message is a view on the buffer of all that were read with it: one that is kept would keep them all.
        const { data } = message;
        const payload = data.length * 4 < data.buffer.byteLength ? new Uint8Array(data) : data;
        for (const handler of [...handlers]) this.#call(handlers, handler, payload);
      },
    });
  }

  #publishLocally(subject: string, payload: Uint8Array): void {
    const handlers = this.#subjects.get(subject)?.handlers;
    if (handlers === undefined || this.#localBytes + payload.length > limits.busPendingBytes) return;
    for (const handler of handlers) this.#local.push({ handlers, handler, payload });
    this.#localBytes += payload.length;
    this.#delivery ??= setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    const messages = this.#local;
    this.#local = [];
    this.#localBytes = 0;
    this.#delivery = undefined;
    for (const { handlers, handler, payload } of messages) this.#call(handlers, handler, payload);
  }

  /** What a handler throws must not reach the client: it would read no further message. */
  #call(handlers: ReadonlySet<Handler>, handler: Handler, payload: Uint8Array): void {
    if (!handlers.has(handler)) return;
    try {
      handler(payload);
    } catch (error) {
      this.#options.onError(error);
    }
  }

  /** Asks the server for a sign that it has taken all so far; a lost connection takes what waited with it. */
  #ask(): void {
    this.#asked = true;
    const bytes = this.#pendingBytes;
    const answered = (): void => {
      this.#pendingBytes -= bytes;
      this.#asked = false;
    };
    this.#connection.flush().then(answered, answered);
  }

  async #watch(): Promise<void> {
    for await (const status of this.#connection.status()) {
      switch (status.type) {
        case "staleConnection":
          // To disconnect, the client waits until its last bytes are written, which a frozen server never lets happen.
          await transportOf(this.#connection)?.close(new Error("the server does not answer"));
          break;
        case "disconnect":
          this.connected = false;
          this.#options.onConnection?.(false, status.server);
          break;
        case "reconnect":
          this.connected = true;
          this.#listenAgain();
          this.#options.onConnection?.(true, status.server);
          break;
        case "error":
          this.#refused(status.error);
          break;
        default:
      }
    }
  }

  /** The client forgets a subscription that the server once refused. */
  #listenAgain(): void {
    for (const [subject, entry] of this.#subjects) {
      if (entry.subscription.isClosed()) entry.subscription = this.#listen(subject, entry.handlers);
    }
  }

  #refused(error: Error): void {
    if (!(error instanceof errors.PermissionViolationError)) return; // the end of the connection, which is opened anew
    const what = error.operation === "publish" ? "publish to" : "subscribe to";
    this.#options.onError(
      new CodedError(
        "ACCESS_DENIED",
        `NATS at ${this.#connection.getServer()} does not let ${identity(this.#options)} ${what} ${error.subject}; allow it, see docs/operations.md`,
        { subject: error.subject },
        error,
      ),
    );
  }
}

function connectionOptions({ servers, name, credentials, tls }: NatsOptions): NodeConnectionOptions {
  return {
    servers: [...servers],
    name,
    ...(credentials === undefined ? {} : "token" in credentials ? credentials : { user: credentials.user, pass: credentials.password }),
    ...(tls === undefined ? {} : { tls: { ...tls } }),
    noEcho: true,
    noAsyncTraces: true,
    timeout: limits.busConnectMs,
    pingInterval: limits.busPingMs,
    maxPingOut: 2,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true, // passwords are changed while servers restart
    reconnectTimeWait: limits.busReconnectMs,
    reconnectJitter: limits.busReconnectMs,
    reconnectJitterTLS: limits.busReconnectMs,
  };
}

function identity({ credentials }: NatsOptions): string {
  if (credentials === undefined) return "a connection without credentials";
  return "token" in credentials ? "the token" : `user "${credentials.user}"`;
}

function tooSmall(connection: NatsConnection, addresses: string): CodedError | undefined {
  const allowed = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
  if (allowed >= limits.exchangeMessageBytes) return undefined;
  return new CodedError(
    "CONFIG_INVALID",
    `NATS at ${addresses} allows messages of ${allowed} bytes, and trainers send up to ${limits.exchangeMessageBytes}: set max_payload in the server's configuration to at least that`,
    { addresses, allowed, needed: limits.exchangeMessageBytes },
  );
}

interface Transport {
  /** Ends the connection at once. */
  close(error: Error): Promise<void>;
  /** Destroys the socket, though it never got as far as a connection. */
  discard(): void;
}

/** Not among the client's public types; nats.all.test.ts freezes a server to see that it still works. */
function transportOf(connection: NatsConnection): Transport | undefined {
  return (connection as { readonly protocol?: { readonly transport?: Transport } }).protocol?.transport;
}
