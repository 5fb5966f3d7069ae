import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";

/** One process of one machine; ids are given again after a restart and when they run out, so start and boot belong to it. Empty where the system does not tell. */
export interface ProcessIdentity {
  readonly host: string;
  readonly boot: string;
  readonly pid: number;
  /** In clock ticks since boot, or a date, as the system tells it. */
  readonly started: string;
}

export interface Processes {
  self(): Promise<ProcessIdentity>;
  /** A process of this machine that lives. */
  of(pid: number): Promise<ProcessIdentity>;
  /** Whether it may still be running. True for processes of another machine, which cannot be seen. */
  isAlive(identity: ProcessIdentity): Promise<boolean>;
}

/** The processes of this machine. `proc`: where Linux tells of them; without it ps does, and without that only whether there is one of that id. */
export function processesOfMachine(proc = "/proc"): Processes {
  const bootId = async (): Promise<string> => (await readIfThere(`${proc}/sys/kernel/random/boot_id`))?.trim() ?? "";
  const stateOf = async (pid: number): Promise<ProcessState | undefined> =>
    (await readIfThere(`${proc}/self/stat`)) === undefined ? askPs(pid) : readStat(`${proc}/${pid}/stat`);
  const of = async (pid: number): Promise<ProcessIdentity> => ({
    host: hostname(),
    boot: await bootId(),
    pid,
    started: (await stateOf(pid))?.started ?? "",
  });
  return {
    of,
    self: () => of(process.pid),
    async isAlive(identity) {
      if (identity.host !== hostname()) return true;
      if (identity.boot !== (await bootId())) return false;
      if (identity.started === "") return answersSignal(identity.pid);
      const found = await stateOf(identity.pid);
      // A zombie has ended; its parent has not asked yet.
      return found !== undefined && found.started === identity.started && !/^[ZX]/.test(found.state);
    },
  };
}

export const systemProcesses: Processes = processesOfMachine();

interface ProcessState {
  readonly state: string;
  readonly started: string;
}

/** State and start time of a process (proc(5), fields 3 and 22; field 2 is the name in brackets and may hold anything). */
async function readStat(file: string): Promise<ProcessState | undefined> {
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", started: fields[19] ?? "" };
}

/** The same where there is no /proc, to the second. Undefined where there is no ps either. */
function askPs(pid: number): Promise<ProcessState | undefined> {
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC" };
  return new Promise((resolve) => {
    execFile("ps", ["-p", String(pid), "-o", "state=,lstart="], { env }, (error, text) => {
      const [, state, started] = /^\s*(\S+)\s+(\S.*?)\s*$/.exec(text) ?? [];
      resolve(error === null && state !== undefined && started !== undefined ? { state, started } : undefined);
    });
  });
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
