import { setMaxListeners } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import pino, { type Logger } from "pino";
import { collectDefaultMetrics, Registry } from "prom-client";
import type { z } from "zod";
import { CodedError, errorCodes } from "../../domain/errors.js";
import { version } from "../../domain/version.js";
import { maskSecrets, readConfig } from "../config/config.js";

/** What a service works with besides its config. */
export interface ServiceContext {
  readonly log: Logger;
  readonly metrics: Registry;
  /** Aborts with INTERRUPTED on SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  /** Stops the process as a signal does, with the same grace. */
  readonly stop: (why: CodedError) => void;
  /** Why /readyz says no; undefined: ready. Not ready before the first call. */
  readonly ready: (reason: string | undefined) => void;
}

/** What a service does between its start and its stop. */
export type ServiceBody<Schema extends z.ZodObject> = (config: z.output<Schema>, context: ServiceContext) => Promise<void>;

interface Telemetry {
  readonly listen: string;
  readonly level: string;
}

/** After the time that the config gives for a stop: to close connections and write the last log lines. */
export const LAST_CALLS_MS = 5_000;
/** The exit code of a fault of graft, as sysexits.h has it. */
const SOFTWARE_EXIT_CODE = 70;

/**
 * The life of a service's process: `--config FILE` and the flags that override fields of it read, effective values logged, /healthz, /readyz and /metrics served, JSON logs on stdout. The first SIGTERM or SIGINT aborts the signal and `body`
 * has until it returns; a second one ends the process at once. Exit code: 0 after a stop (130 of a worker of one job, whose 0 means that the job has ended), else that of the failure.
 */
export async function runService<Schema extends z.ZodObject>(
  name: string,
  schema: Schema,
  body: ServiceBody<Schema>,
  flags: readonly string[] = [],
): Promise<void> {
  const given = readFlags(name, flags);
  if (given === undefined) return;
  let log = pino({ base: { service: name, pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime });
  try {
    const config = await readConfig(given.file, schema, given.overrides);
    const telemetry = (config as unknown as { readonly telemetry: Telemetry }).telemetry;
    log = pino({ base: { service: name, pid: process.pid }, level: telemetry.level, timestamp: pino.stdTimeFunctions.isoTime });
    log.info({ version, config: maskSecrets(config) }, "starting");
    const { drainMs = 0, stopMs = 0, job } = config as { readonly drainMs?: number; readonly stopMs?: number; readonly job?: string };
    const graceMs = drainMs + stopMs + LAST_CALLS_MS;
    // Of a worker of one job, 0 means that its job has ended.
    const stoppedExitCode = job === undefined ? 0 : errorCodes.INTERRUPTED.exitCode;
    const stop = new AbortController();
    setMaxListeners(0, stop.signal); // every call that waits listens
    const stopFor = (why: CodedError): void => {
      if (stop.signal.aborted) return;
      reason = "stopping";
      process.exitCode = stoppedExitCode;
      stop.abort(why);
      const overdue = setTimeout(() => {
        log.warn({ graceMs }, "not stopped in time; what was under way is left as it is");
        process.exit(errorCodes.INTERRUPTED.exitCode);
      }, graceMs);
      overdue.unref(); // a process that has stopped does not wait for it
    };
    const onSignal = (signal: NodeJS.Signals): void => {
      if (stop.signal.aborted) process.exit(errorCodes.INTERRUPTED.exitCode);
      log.info({ signal }, "stopping");
      stopFor(new CodedError("INTERRUPTED", `${name} was stopped by ${signal}`));
    };
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
    let reason: string | undefined = "starting";
    const metrics = new Registry();
    collectDefaultMetrics({ register: metrics });
    const close = await serveTelemetry(telemetry.listen, metrics, () => reason, log);
    try {
      await body(config, {
        log,
        metrics,
        signal: stop.signal,
        stop: stopFor,
        ready: (why) => (reason = stop.signal.aborted ? "stopping" : why),
      });
    } finally {
      close();
    }
    log.info("stopped");
  } catch (error) {
    if (error instanceof CodedError && error.code === "INTERRUPTED") {
      log.info("stopped");
      return;
    }
    const isKnown = error instanceof CodedError;
    log.fatal(isKnown ? { code: error.code, details: error.details } : { err: error }, isKnown ? error.message : "unexpected failure");
    process.exitCode = isKnown ? errorCodes[error.code].exitCode : SOFTWARE_EXIT_CODE;
  }
}

/** The config file and the fields that flags of the same name (`--dataset-credentials` for datasetCredentials) override; undefined where there is nothing to run. */
function readFlags(
  name: string,
  fields: readonly string[],
): { readonly file: string; readonly overrides: Readonly<Record<string, string>> } | undefined {
  const flagOf = (field: string): string => `--${field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const values = new Map<string, string>();
  const [, , ...words] = process.argv;
  const known = ["config", ...fields];
  let isWrong = words.length === 0;
  for (let at = 0; at < words.length; at += 2) {
    const field = known.find((each) => flagOf(each) === words[at]);
    const value = words[at + 1];
    if (field === undefined || value === undefined) isWrong = true;
    else values.set(field, value);
  }
  const file = values.get("config");
  if (!isWrong && file !== undefined) {
    values.delete("config");
    return { file, overrides: Object.fromEntries(values) };
  }
  const isHelp = words.includes("--help");
  const more = fields.map((field) => ` [${flagOf(field)} VALUE]`).join("");
  const text = `usage: graft-${name} --config FILE${more}\n\nThe fields of the config file, with examples, are in docs/operations.md${fields.length === 0 ? "" : "; the flags override those of their names"}.\n`;
  (isHelp ? process.stdout : process.stderr).write(text);
  if (!isHelp) process.exitCode = errorCodes.USAGE_INVALID.exitCode;
  return undefined;
}

async function serveTelemetry(listen: string, metrics: Registry, notReady: () => string | undefined, log: Logger): Promise<() => void> {
  const server = createServer((request, response) => {
    const answer = (status: number, type: string, text: string): void =>
      void response.writeHead(status, { "content-type": type }).end(text);
    if (request.url === "/healthz") answer(200, "text/plain", "ok\n");
    else if (request.url === "/readyz") answer(notReady() === undefined ? 200 : 503, "text/plain", `${notReady() ?? "ready"}\n`);
    else if (request.url === "/metrics")
      metrics.metrics().then(
        (text) => answer(200, metrics.contentType, text),
        (error: unknown) => answer(500, "text/plain", String(error)),
      );
    else answer(404, "text/plain", "there are /healthz, /readyz and /metrics\n");
  });
  const colon = listen.lastIndexOf(":");
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) =>
      reject(new CodedError("CONFIG_INVALID", `telemetry.listen ${listen}: ${cause.message}; give another address`, {}, cause)),
    );
    server.listen(Number(listen.slice(colon + 1)), host, resolve);
  });
  server.unref();
  log.info({ address: `${host}:${String((server.address() as AddressInfo).port)}` }, "telemetry");
  return () => {
    server.close();
    server.closeAllConnections();
  };
}
