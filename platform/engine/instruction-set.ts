import { readFileSync } from "node:fs";
import { arch } from "node:os";

/** What the bits of a matrix product depend on in a CPU: avx512, avx2, avx, x64 or arm64, … */
export function instructionSet(): string {
  if (arch() !== "x64") return arch();
  let flags: ReadonlySet<string>;
  try {
    flags = cpuFlags(readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return "x64"; // No such file outside Linux: those machines share one name, which keeps them apart from all others.
  }
  return instructionSetOf(flags);
}

/** The flags of the first processor in /proc/cpuinfo. */
export function cpuFlags(cpuinfo: string): ReadonlySet<string> {
  const line = /^flags\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "";
  return new Set(line.trim().split(/\s+/));
}

/** The widest set of which all parts are there that number crunching uses. */
export function instructionSetOf(flags: ReadonlySet<string>): string {
  const hasAll = (...names: string[]): boolean => names.every((name) => flags.has(name));
  if (hasAll("avx512f", "avx512bw", "avx512dq", "avx512vl")) return "avx512";
  if (hasAll("avx2", "fma")) return "avx2";
  if (hasAll("avx")) return "avx";
  return "x64";
}
