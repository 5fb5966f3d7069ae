import { CodedError } from "../../domain/errors.js";
import { engineNames } from "../../domain/training/trainable-layers.js";
import { listEngines } from "../../platform/engine/engines.js";
import { isS3Location } from "../../platform/bucket/bucket.js";
import { s3Access, storeLocation } from "../config.js";
import { aligned } from "../table.js";
import { checkBackbones, checkEngine, checkMachine, checkNode, checkPictures, checkStore, type Finding } from "./checks.js";
import { checkBucket } from "./bucket-checks.js";

export interface EngineFlags {
  readonly json?: boolean;
}

export interface DoctorFlags {
  readonly store?: string;
  readonly json?: boolean;
}

/** `graft engines`: what can compute here; what cannot, why, and what to do. */
export async function engines({ json }: EngineFlags): Promise<void> {
  const found = await listEngines();
  if (json === true) {
    for (const engine of found) process.stdout.write(`${JSON.stringify(engine)}\n`);
    return;
  }
  const width = Math.max(...engineNames.map((name) => name.length));
  for (const { name, available, detail, remedy } of found)
    process.stdout.write(
      `${name.padEnd(width)}  ${available ? `available: ${detail}` : `not available: ${detail}\n${" ".repeat(width)}  what to do: ${remedy}`}\n`,
    );
}

/** `graft doctor`: each thing that a job needs, tried; exit code 1 if one of them is missing. */
export async function doctor(flags: DoctorFlags): Promise<void> {
  const checks: readonly (readonly [name: string, check: () => Promise<Finding> | Finding])[] = [
    ["node", checkNode],
    ["machine", checkMachine],
    ["engine", checkEngine],
    ["pictures", checkPictures],
    ["backbones", checkBackbones],
  ];
  const rows: (readonly [string, Finding])[] = [];
  for (const [name, check] of checks) rows.push([name, await tried(check)]);
  rows.push(...(await storeRows(storeLocation(flags))));
  const problems = rows.filter(([, finding]) => finding.remedy !== undefined).length;
  if (problems > 0) process.exitCode = 1;
  if (flags.json === true) {
    for (const [check, { detail, remedy }] of rows)
      process.stdout.write(`${JSON.stringify({ check, ok: remedy === undefined, detail, remedy: remedy ?? null })}\n`);
    return;
  }
  process.stdout.write(
    `${aligned(rows.map(([name, { detail, remedy }]) => [remedy === undefined ? "ok" : "problem", name, remedy === undefined ? detail : `${detail}: ${remedy}`]))}\n`,
  );
  process.stdout.write(
    problems === 0 ? "everything that a job needs is here\n" : `${problems} ${problems === 1 ? "thing is" : "things are"} missing\n`,
  );
}

/** A folder is one check, a bucket one for each thing that graft relies on. */
async function storeRows(location: string): Promise<(readonly [string, Finding])[]> {
  if (!isS3Location(location)) return [["store", await tried(() => checkStore(location))]];
  const rows: (readonly [string, Finding])[] = [];
  const whole = await tried(async () => {
    const { store, guarantees } = await checkBucket(location, s3Access());
    rows.push(...guarantees);
    return store;
  });
  return [["store", whole], ...rows];
}

/** A check that throws has found a problem; coded errors say themselves what to do. */
async function tried(check: () => Promise<Finding> | Finding): Promise<Finding> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof CodedError) return { detail: error.code, remedy: error.message };
    return {
      detail: error instanceof Error ? error.message : String(error),
      remedy: "install graft's dependencies again with npm install",
    };
  }
}
