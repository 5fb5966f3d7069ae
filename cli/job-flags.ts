import type { Command } from "commander";
import { overrides } from "../domain/job/override.js";

/** Flags of `train`, `run` and `plan` that set fields of the job spec (domain/job/override.ts). `--dataset` is for commands that read a job file. */
export function addJobFlags(command: Command, { withDataset }: { readonly withDataset: boolean }): Command {
  for (const { flag, value, description } of overrides) {
    if (flag !== "--dataset" || withDataset) command.option(`${flag} <${value.toLowerCase()}>`, description);
  }
  return command;
}
