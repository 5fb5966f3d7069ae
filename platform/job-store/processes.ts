import { readFile } from "node:fs/promises";
import { hostname } from "node:os";

/** One process of one machine; ids are given again after a restart and when they run out, so start and boot belong to it. Empty where the system does not tell. */
export interface ProcessIdentity {
  readonly host: string;
  readonly boot: string;
  readonly pid: number;
  /** In clock ticks since boot. */
  readonly started: string;
}

export interface Processes {
  self(): Promise<ProcessIdentity>;
  /** Whether it may still be running. True for processes of another machine, which cannot be seen. */
  isAlive(identity: ProcessIdentity): Promise<boolean>;
}

/** The processes of this machine, from /proc where there is one. */
export const systemProcesses: Processes = {
  self: async () => ({ host: hostname(), boot: await bootId(), pid: process.pid, started: (await readStat(process.pid))?.started ?? "" }),
  async isAlive(identity) {
    if (identity.host !== hostname()) return true;
    if (identity.boot !== (await bootId())) return false;
    if (identity.started === "") return answersSignal(identity.pid);
    const stat = await readStat(identity.pid);
    // A zombie has ended; its parent has not asked yet.
    return stat !== undefined && stat.started === identity.started && stat.state !== "Z" && stat.state !== "X";
  },
};

async function bootId(): Promise<string> {
  return (await readIfThere("/proc/sys/kernel/random/boot_id"))?.trim() ?? "";
}

/** State and start time of a process (proc(5), fields 3 and 22; field 2 is the name in brackets and may hold anything). */
async function readStat(pid: number): Promise<{ readonly state: string; readonly started: string } | undefined> {
  const text = await readIfThere(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", started: fields[19] ?? "" };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined;
  }
}

function answersSignal(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, under another user.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
