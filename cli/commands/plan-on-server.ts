import { errorCodes } from "../../domain/errors.js";
import type { Plan } from "../../domain/job/plan.js";
import { withServer } from "../server.js";
import { inNamespace, jobRequest, type RequestFlags } from "./job-request.js";

export interface PlanOnServerFlags extends RequestFlags {
  readonly read?: boolean;
}

/** `kubectl graft plan [JOB.yaml]`: what `graft plan` says, from the coordinator, which sees the dataset; with the same exit code. */
export async function planOnServer(file: string | undefined, flags: PlanOnServerFlags): Promise<void> {
  const { request, serverFlags } = await jobRequest("plan", file, flags);
  await withServer(serverFlags, async (server, namespace) => {
    const { text, json } = await server.planJob(inNamespace(request, namespace), flags.read === true);
    process.stdout.write(flags.json === true ? `${json}\n` : `${text}\n`);
    const [obstacle] = (JSON.parse(json) as Pick<Plan, "obstacles">).obstacles;
    if (obstacle !== undefined) process.exitCode = errorCodes[obstacle.code].exitCode;
  });
}
