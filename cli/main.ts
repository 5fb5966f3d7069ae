#!/usr/bin/env node
import { Command } from "commander";
import { version } from "../domain/version.js";
import { failWith } from "./failure.js";
import { addLocalCommands } from "./local-commands.js";
import { programName } from "./program-name.js";
import { addServerCommands } from "./server-commands.js";

/** As for every other mistake in what the user gave (domain/errors.ts). */
const USAGE_EXIT_CODE = 2;
/** 128 + SIGPIPE. */
const SIGPIPE_EXIT_CODE = 141;

/** Commands are imported when they run, so that `graft --help` loads nothing heavy. */
const program = new Command(programName)
  .description(
    "Transfer learning on pictures: features of a pretrained network are extracted once and kept, heads are trained on them with the same bits on any number of workers.",
  )
  .version(version)
  .showHelpAfterError(`(${programName} COMMAND --help shows examples)`)
  .configureHelp({ showGlobalOptions: false })
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "graft: ")) })
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE_EXIT_CODE));

// A reader that has seen enough (`graft backbone show … | head`) ends the program, as it ends others.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(SIGPIPE_EXIT_CODE);
  throw error;
});

const isPlugin = programName === "kubectl graft";
if (!isPlugin) addLocalCommands(program, run);
addServerCommands(program, isPlugin, run);

/** An action whose failure is printed once, here, and becomes the exit code. */
function run<Arguments extends unknown[]>(action: (...values: Arguments) => Promise<void>): (...values: Arguments) => Promise<void> {
  return async (...values) => {
    try {
      await action(...values);
    } catch (error) {
      failWith(error, process.argv.includes("--json"));
    }
  };
}

await program.parseAsync();
