import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { goProgram } from "./go-program.js";

export interface NatsUser {
  readonly user: string;
  readonly password: string;
  /** Subjects that the user may publish to and subscribe to; all where not given. */
  readonly publish?: readonly string[];
  readonly subscribe?: readonly string[];
}

export interface NatsServerOptions {
  readonly users?: readonly NatsUser[];
  readonly maxPayloadBytes?: number;
  /** A reader for whom more than this waits is cut off as a slow consumer; the server's own default is 64 MiB. */
  readonly maxPendingBytes?: number;
  /** So is one whose socket takes nothing for this long; the server's own default is 10 s. */
  readonly writeDeadlineMs?: number;
}

/** A real nats-server on free ports of the loopback interface. Whoever starts it stops it. */
export class NatsServer {
  readonly #options: NatsServerOptions;
  readonly #program: string;
  readonly #folder = mkdtempSync(join(tmpdir(), "graft-nats-"));
  #process: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #port = -1;
  #monitorPort = -1;

  private constructor(program: string, options: NatsServerOptions) {
    this.#program = program;
    this.#options = options;
  }

  /** Resolves when clients can connect. @throws Error with the server's log where it does not start. */
  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const program = goProgram("nats-server");
    if (program === undefined) throw new Error("there is no nats-server");
    const server = new NatsServer(program, options);
    await server.#run();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`;
  }

  /** Process id; undefined while it does not run. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** What the server has counted since it was started: payload bytes and messages that came in and went out, readers that it cut off. */
  async counters(): Promise<{ inBytes: number; outBytes: number; outMessages: number; slowConsumers: number }> {
    const answer = await fetch(`http://127.0.0.1:${this.#monitorPort}/varz`);
    const varz = (await answer.json()) as { in_bytes: number; out_bytes: number; out_msgs: number; slow_consumers: number };
    return { inBytes: varz.in_bytes, outBytes: varz.out_bytes, outMessages: varz.out_msgs, slowConsumers: varz.slow_consumers };
  }

  /** Sends a signal; SIGKILL and SIGTERM resolve when the process is gone, others at once. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    this.#process?.kill(signal);
    if (signal === "SIGKILL" || signal === "SIGTERM") await this.#ended;
  }

  /** Starts it again on the same ports, after `kill`. */
  async restart(): Promise<void> {
    await this.kill("SIGKILL");
    await this.#run();
  }

  async stop(): Promise<void> {
    await this.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #run(): Promise<void> {
    const file = join(this.#folder, "nats.conf");
    writeFileSync(file, configuration(this.#options, this.#port, this.#monitorPort));
    const child = spawn(this.#program, ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
    this.#process = child;
    this.#ended = new Promise((resolve) => {
      child.on("close", () => {
        this.#process = undefined;
        resolve();
      });
    });
    const log: string[] = [];
    await new Promise<void>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", () => reject(new Error(`nats-server ended\n${log.join("\n")}`)));
      createInterface({ input: child.stderr }).on("line", (line) => {
        if (log.length < 100) log.push(line);
        this.#port = portIn(line, "Listening for client connections on ") ?? this.#port;
        this.#monitorPort = portIn(line, "Starting http monitor on ") ?? this.#monitorPort;
        if (line.endsWith("Server is ready")) resolve();
      });
    });
  }
}

function portIn(line: string, before: string): number | undefined {
  const [, address] = line.split(before);
  return address === undefined ? undefined : Number(address.split(":").at(-1));
}

function configuration(options: NatsServerOptions, port: number, monitorPort: number): string {
  const lines = [`listen: "127.0.0.1:${port}"`, `http: "127.0.0.1:${monitorPort}"`];
  if (options.maxPayloadBytes !== undefined) lines.push(`max_payload: ${options.maxPayloadBytes}`);
  if (options.maxPendingBytes !== undefined) lines.push(`max_pending: ${options.maxPendingBytes}`);
  if (options.writeDeadlineMs !== undefined) lines.push(`write_deadline: "${options.writeDeadlineMs}ms"`);
  if (options.users !== undefined) {
    const users = options.users.map(({ user, password, publish = [">"], subscribe = [">"] }) => ({
      user,
      password,
      permissions: { publish, subscribe },
    }));
    lines.push(`authorization: ${JSON.stringify({ users })}`);
  }
  return `${lines.join("\n")}\n`;
}
