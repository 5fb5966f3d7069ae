import { randomUUID } from "node:crypto";
import { CodedError } from "../../domain/errors.js";
import { interruptSignal } from "../interrupt.js";
import { nextCommand } from "../program-name.js";
import { jobReference, withServer } from "../server.js";
import { inNamespace, jobRequest, type RequestFlags } from "./job-request.js";
import { watchToTheEnd } from "./watch.js";

export interface SubmitFlags extends RequestFlags {
  readonly requestId?: string;
  readonly watch?: boolean;
  readonly wait?: boolean;
}

/** `graft submit [JOB.yaml]`: hands a job to the server; with `--upload DIR` the folder is put into a bucket first and is the job's dataset. */
export async function submit(file: string | undefined, flags: SubmitFlags): Promise<void> {
  const { request, serverFlags } = await jobRequest("submit", file, flags);
  const requestId = flags.requestId ?? randomUUID();
  const staysOn = flags.watch === true || flags.wait === true;
  await withServer(serverFlags, async (server, namespace) => {
    const job = await server.submitJob(requestId, inNamespace(request, namespace));
    const name = job.metadata.name ?? "";
    const watchIt = nextCommand("watch", name, serverFlags);
    if (flags.json === true) process.stdout.write(`${JSON.stringify(job)}\n`);
    else process.stdout.write(`submitted ${name} (${job.metadata.uid ?? ""})${staysOn ? "" : `; watch it with: ${watchIt}`}\n`);
    if (!staysOn) return;
    const interrupt = interruptSignal(() => new CodedError("INTERRUPTED", `no longer watching; the job goes on: ${watchIt}`));
    try {
      const watching = { ...serverFlags, silent: flags.watch !== true };
      const last = await watchToTheEnd(server, jobReference(name, namespace), watching, interrupt.signal);
      if (flags.watch === true) return;
      process.stdout.write(flags.json === true ? `${JSON.stringify(last)}\n` : `${name} is complete\n`);
    } finally {
      interrupt.release();
    }
  });
}
