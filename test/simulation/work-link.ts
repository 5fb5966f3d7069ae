import { CodedError, errorCodes } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { WorkService } from "../../platform/work-service/work-service.js";
import type { Network } from "./network.js";
import type { SimulatedProcess } from "./process.js";

/** A process that serves workers. */
export interface CoordinatorProcess {
  readonly process: SimulatedProcess;
  readonly work: WorkService;
}

/** Sees each call where it is served. */
export type CallObserver = (
  served: CoordinatorProcess,
  method: keyof WorkService,
  args: readonly unknown[],
  serve: () => Promise<unknown>,
) => Promise<unknown>;

const HOST = "coordinator";
/** The deadline of a call that is answered at once. */
const CALL_MS_MAX = 10_000;
const FIRST_WAIT_MS = 250;
const WAIT_MS_MAX = 4_000;

/** Calls that the worker cannot do without: they wait for the coordinator, however long that takes. The others are reports: they fail at once, and the next one says more. */
const patientCalls: ReadonlySet<keyof WorkService> = new Set<keyof WorkService>([
  "claimTask",
  "lookupFeatures",
  "commitTask",
  "appendShards",
  "releaseTask",
  "reportFailure",
  "joinTraining",
  "reportMissingFeatures",
  "commitCheckpoint",
  "reportPhase",
  "commitResult",
]);
const longPolls: ReadonlySet<keyof WorkService> = new Set<keyof WorkService>(["claimTask", "joinTraining"]);

/**
 * The coordinator as a worker sees it through gRPC: requests and answers travel apart, either can be lost, and then the caller knows only that the server is unavailable, though
 * the call may have had its effect. A connection stays with the process that it was made to until it breaks: so a coordinator that was replaced while it was paused is still talked to.
 */
export function workLink(
  process: SimulatedProcess,
  network: Network,
  current: () => CoordinatorProcess | undefined,
  observe: CallObserver,
): WorkService {
  let connection: CoordinatorProcess | undefined;

  function once<Method extends keyof WorkService>(
    method: Method,
    args: Parameters<WorkService[Method]>,
  ): Promise<Awaited<ReturnType<WorkService[Method]>>> {
    type Answer = Awaited<ReturnType<WorkService[Method]>>;
    const { clock } = network;
    const sent = structuredClone(args);
    return process.call(
      () =>
        new Promise<Answer>((resolve, reject) => {
          const fail = (why: string): void => {
            connection = undefined;
            reject(new CodedError("SERVER_UNAVAILABLE", `${method}: the simulated coordinator ${why}`));
          };
          const deadlineMs = longPolls.has(method) ? limits.longPollMs + CALL_MS_MAX : CALL_MS_MAX;
          const cancel = clock.after(deadlineMs, () => fail("did not answer in time"));
          const breaks = (): boolean => network.drawFault("broken");
          const settle = (outcome: () => void): void => {
            clock.after(network.transitMs(), () => {
              if (!network.isOpen(process.host, HOST)) return; // noticed by the deadline
              cancel();
              if (breaks()) fail("broke the connection");
              else outcome();
            });
          };
          const serve = (server: CoordinatorProcess, answer: (outcome: () => void) => void): void => {
            server.process.post(() => {
              const handle = (): Promise<unknown> => (server.work[method] as (...given: unknown[]) => Promise<unknown>)(...sent);
              server.process
                .call(() => observe(server, method, sent, handle))
                .then(
                  (result) => answer(() => resolve(structuredClone(result) as Answer)),
                  (error: unknown) => answer(() => reject(overTheWire(error))),
                );
            });
          };
          clock.after(network.transitMs(), () => {
            if (!network.isOpen(process.host, HOST)) return;
            if (connection?.process.isAlive !== true) connection = current();
            const server = connection;
            if (server === undefined || breaks()) {
              cancel();
              fail(server === undefined ? "is not there" : "broke the connection");
              return;
            }
            if (network.drawFault("late")) {
              cancel();
              fail("broke the connection");
              clock.after(network.random.below(network.conditions.lateMsMax + 1), () => serve(server, () => undefined));
            } else serve(server, settle);
          });
        }),
    );
  }

  async function patiently<Method extends keyof WorkService>(
    method: Method,
    args: Parameters<WorkService[Method]>,
  ): Promise<Awaited<ReturnType<WorkService[Method]>>> {
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(WAIT_MS_MAX, 2 * waitMs)) {
      try {
        return await once(method, args);
      } catch (error) {
        if (!(error instanceof CodedError && errorCodes[error.code].retryable) || process.stop.signal.aborted) throw error;
      }
      await process.clock.sleep((waitMs * (1 + network.random.uniform())) / 2);
    }
  }

  return new Proxy({} as WorkService, {
    get: (_target, name) => {
      const method = name as keyof WorkService;
      return (...args: Parameters<WorkService[typeof method]>) => (patientCalls.has(method) ? patiently(method, args) : once(method, args));
    },
  });
}

/** What a caller gets of a failure: its code and message. One without a code is a fault of the server. */
function overTheWire(error: unknown): Error {
  if (error instanceof CodedError) return new CodedError(error.code, error.message, structuredClone(error.details));
  return new Error(`INTERNAL: ${String(error)}`, { cause: error });
}
