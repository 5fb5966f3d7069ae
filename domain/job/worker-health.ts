import type { ErrorCode } from "../errors.js";

/** A worker's pod that has not ended. */
export interface WaitingOrRunning {
  readonly name: string;
  readonly role: string;
  readonly state:
    | { readonly kind: "running"; readonly ready: boolean }
    | { readonly kind: "waiting"; readonly code: ErrorCode | undefined; readonly message: string };
}

/** Why a role has no pods that could run although it needs some: they could not be made. */
export interface RoleProblem {
  readonly role: string;
  readonly message: string;
}

export interface WorkerHealth {
  /** A role that is needed has no pod that runs, and this is why. */
  readonly blocked?: { readonly code: ErrorCode; readonly message: string };
  /** A role that is needed has no pod that runs yet; nothing is known to be wrong. */
  readonly idle?: string;
  /** What else there is to say. */
  readonly remark?: string;
}

/**
 * What the pods say about a job: `blocked` where a role that is needed has no pod that runs and one that cannot, `remark` where others of the role do run.
 */
export function workerHealth(needed: readonly string[], pods: readonly WaitingOrRunning[], problems: readonly RoleProblem[]): WorkerHealth {
  const remarks: string[] = [];
  let idle: string | undefined;
  for (const role of needed) {
    const own = pods.filter((pod) => pod.role === role);
    const [stuck, ...others] = own.flatMap(({ name, state }) =>
      state.kind === "waiting" && state.code !== undefined ? [{ name, code: state.code, message: state.message }] : [],
    );
    const isRunning = own.some(({ state }) => state.kind === "running" && state.ready);
    const problem = problems.find((each) => each.role === role);
    if (problem !== undefined) {
      if (!isRunning) return { blocked: { code: "WORKERS_NOT_STARTED", message: problem.message } };
      remarks.push(problem.message);
    }
    if (stuck === undefined) {
      const [first] = own.map(
        ({ name, state }) =>
          `${role} ${name}: ${state.kind === "waiting" ? state.message : "it runs and is not ready yet; its log says what it waits for"}`,
      );
      if (!isRunning) idle ??= first ?? `no ${role} is there yet`;
      continue;
    }
    const more = others.length === 0 ? "" : ` (and ${String(others.length)} more ${others.length === 1 ? "pod" : "pods"})`;
    const message = `${role} ${stuck.name}: ${stuck.message}${more}`;
    if (!isRunning) return { blocked: { code: stuck.code, message } };
    remarks.push(`${message}; the others of its role go on`);
  }
  return { ...(idle !== undefined && { idle }), ...(remarks.length > 0 && { remark: remarks.join("; ") }) };
}
