import { isFinal } from "../../domain/job/transitions.js";
import type { Reason } from "../../platform/job-service/job-service.js";
import type { Jobs, KnownJob } from "./jobs.js";

/** Leases and pictures that are named; the rest are counted. */
const NAMED_MAX = 20;

/** Why a job is where it is: the job itself, what it waits for, and what that waits for, down to a worker and a task. */
export async function explainJob(jobs: Jobs, job: KnownJob): Promise<Reason[]> {
  const { board, coordinator, pause } = job;
  const { phase, suspended, failure } = board.current;
  const reasons: Reason[] = [];
  const add = (depth: number, subject: string, message: string): void => void reasons.push({ depth, subject, message });

  // 1. The job.
  if (isFinal(phase)) add(0, "job", failure === null ? phase : `${phase}: ${failure.message} [${failure.code}]`);
  else if (suspended || pause?.kind === "suspended")
    add(0, "job", `suspended in ${phase} by request; everything done is kept, resume it to go on`);
  else if (pause?.kind === "retry") {
    const leftSeconds = Math.max(0, Math.ceil((pause.untilMs - jobs.deps.clock.monotonic()) / 1000));
    add(
      0,
      "job",
      `${phase}: ${pause.error instanceof Error ? pause.error.message : String(pause.error)}; it is tried again in ${String(leftSeconds)} s`,
    );
  } else add(0, "job", sentenceOf(job));
  if (isFinal(phase) || pause !== undefined || coordinator === undefined) return reasons;

  // 2. What it waits for.
  if (phase === "Pending" || phase === "Planning") {
    const engines = await jobs.deps.enginesOf(job.record.job).catch(() => undefined);
    for (const [role, one] of [
      ["extraction", "an extractor"],
      ["training", "a trainer"],
    ] as const)
      if (engines !== undefined && !job.profiles.has(role, engines[role]))
        add(
          1,
          role,
          `no worker has come yet: ${one} with engine ${engines[role]} is needed${role === "extraction" && job.record.job.numericsProfile === "ANY" ? "" : ", to whose numerics profile the job is pinned"}`,
        );
  }
  const { extraction, membership } = coordinator.work;
  if (phase === "Extracting" && extraction !== undefined) {
    const { held } = extraction;
    const open = extraction.tasks - extraction.committed.size - new Set(held.map(({ task }) => task)).size;
    add(
      1,
      "extraction",
      `${String(extraction.committed.size)} of ${String(extraction.tasks)} tasks are committed, ${String(held.length)} are under way, ${String(open)} wait for an extractor`,
    );
    for (const { worker, task, heldMs, expiresInMs } of held.slice(0, NAMED_MAX)) {
      const seconds = String(Math.round(heldMs / 1000));
      const silence = expiresInMs < 0 ? `; not heard any more, the task is free for others` : "";
      add(2, `task ${String(task)}`, `worker ${worker} has been at it for ${seconds} s${silence}`);
    }
    if (held.length > NAMED_MAX) add(2, "tasks", `and ${String(held.length - NAMED_MAX)} more are under way`);
    if (held.length === 0 && open > 0)
      add(2, "extractors", "none has asked for a task; start one, or see why those that there are do not run");
  }
  if (phase === "Training" && membership !== undefined) {
    const { waitsFor, generation, trainers } = membership;
    if (waitsFor !== undefined) add(1, "trainers", waitsFor);
    else {
      add(
        1,
        "trainers",
        `generation ${String(generation)}: ${trainers.join(", ")}${board.current.trainersReason === undefined ? "" : ` (${board.current.trainersReason})`}`,
      );
      for (const { trainer, silentMs } of membership.silent)
        add(2, `trainer ${trainer}`, `not heard for ${String(Math.round(silentMs / 1000))} s; soon the others go on without it`);
    }
  }
  const rejected = await firstRejected(job);
  for (const { uri, reason } of rejected) add(2, `picture ${uri}`, `rejected: ${reason}`);
  return reasons;
}

function sentenceOf({ board }: KnownJob): string {
  const { phase, failure, extracted, pictures, step, steps } = board.current;
  const why = failure === null ? "" : `; ${failure.message} [${failure.code}]`;
  if (phase === "Scanning") return `Scanning: ${String(pictures ?? 0)} pictures are listed so far${why}`;
  if (phase === "Extracting" && pictures !== undefined)
    return `Extracting: ${String(extracted ?? 0)} of ${String(pictures)} pictures${why}`;
  if (phase === "Training" && steps !== undefined) return `Training: step ${String(step ?? 0)} of ${String(steps)}${why}`;
  return `${phase}${why}`;
}

async function firstRejected({ coordinator }: KnownJob): Promise<readonly { readonly uri: string; readonly reason: string }[]> {
  return (await coordinator?.rejectedPictures(NAMED_MAX)) ?? [];
}
