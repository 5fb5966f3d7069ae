#!/usr/bin/env node
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { version } from "../domain/version.js";
import { failWith } from "./failure.js";
import { addJobFlags } from "./job-flags.js";

// Pictures are read and decoded on libuv's threads: one a core, and some for files. It is read when the first of them starts.
process.env["UV_THREADPOOL_SIZE"] ??= String(availableParallelism() + 4);

// A reader that has seen enough (`graft predict … | head`) is no failure: end as a signal would.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(141);
});

/** Commands are imported when they run, so that `graft --help` loads nothing heavy. */
const program = new Command("graft")
  .description(
    "Transfer learning on pictures: features of a pretrained network are extracted once and kept, heads are trained on them with the same bits on any number of workers.",
  )
  .version(version)
  .showHelpAfterError("(graft COMMAND --help shows examples)")
  .configureHelp({ showGlobalOptions: false });

function storeFlag(command: Command): Command {
  return command.option("--store <dir>", "where features, backbones and jobs are kept (default: $GRAFT_STORE or ~/.graft)");
}

addJobFlags(storeFlag(program.command("train").argument("<dir>", "folder of class folders, or a manifest (.csv, .jsonl)")), {
  withDataset: false,
})
  .summary("train a classifier on a folder of pictures")
  .description(
    "Scans the pictures, extracts the features that are not kept yet, trains, evaluates and exports. Run again after an interruption, it goes on from there with the same result.",
  )
  .option("--out <dir>", "where the results go (default: ./NAME-model)")
  .option("--json", "one JSON object a line, the last one with the metrics")
  .addHelpText(
    "after",
    `
Examples:
  graft train ./flowers                                 all defaults
  graft train ./flowers --backbone mobilenet_v2_0.35_224 --steps 500 --out ./flowers-small
  graft train ./flowers --optimizer sgd --learning-rate 0.01 --trainers 4`,
  )
  .action(run(async (source: string, flags) => (await import("./commands/train.js")).train(source, flags)));

addJobFlags(storeFlag(program.command("run").argument("<job.yaml>", "a GraftJob")), { withDataset: true })
  .summary("run a job file in this process")
  .description("The same as `graft train`, from a job file; flags override its fields.")
  .option("--out <dir>", "where the results go (default: ./NAME-model)")
  .option("--json", "one JSON object a line, the last one with the metrics")
  .addHelpText(
    "after",
    "\nExamples:\n  graft run examples/flowers.yaml --dataset ./flowers\n  graft run job.yaml --learning-rate 0.003 --out ./second",
  )
  .action(run(async (file: string, flags) => (await import("./commands/train.js")).runJobFile(file, flags)));

addJobFlags(storeFlag(program.command("plan").argument("<dir or job.yaml>")), { withDataset: true })
  .summary("say what a job would do, and start nothing")
  .option("--read", "read, hash and decode every picture, so that counts are exact and bad pictures are known")
  .option("--json", "the plan as JSON")
  .addHelpText("after", "\nExamples:\n  graft plan ./flowers\n  graft plan job.yaml --read --json")
  .action(run(async (source: string, flags) => (await import("./commands/plan.js")).plan(source, flags)));

program
  .command("predict")
  .argument("<out>", "the folder that `graft train --out` wrote")
  .argument("<image...>", "pictures")
  .summary("classify pictures with a trained model")
  .option("--top <n>", "classes to print", wholeNumber, 5)
  .option("--json", "one JSON object a picture")
  .addHelpText("after", "\nExamples:\n  graft predict ./flowers-model rose.jpg\n  graft predict ./flowers-model *.jpg --top 1 --json")
  .action(run(async (out: string, images: string[], flags) => (await import("./commands/predict.js")).predict(out, images, flags)));

program
  .command("inspect")
  .argument("<file>", "a shard, checkpoint, model, event file, metrics or passport")
  .summary("print what a file holds")
  .addHelpText("after", "\nExamples:\n  graft inspect flowers-model/passport.json\n  graft inspect ~/.graft/features/…/shards/….arrow")
  .action(run(async (file: string) => (await import("./commands/inspect.js")).inspectFile(file)));

const backbone = program.command("backbone").summary("list, add and show pretrained networks");
storeFlag(backbone.command("list").description("The networks that jobs can name, with origin, licence and digest."))
  .option("--json", "one JSON object a network")
  .action(run(async (flags) => (await import("./commands/backbone.js")).listBackbones(flags)));
storeFlag(
  backbone.command("add").argument("<file or folder or url>", "TensorFlow.js model.json, Keras .h5 or .safetensors, or a result of graft"),
)
  .description("Imports weights after checking every tensor.")
  .option("--name <name>", "the name that jobs will use (default: from the file)")
  .option("--topology <name>", "known topology, such as mobilenet_v2_1.0_224 (default: found by the tensors)")
  .option("--sha256 <hex>", "refuse the file unless it has this SHA-256")
  .option("--preprocessing <json>", 'overrides, such as \'{"size":150,"mean":[0,0,0],"deviation":[255,255,255]}\'')
  .addHelpText(
    "after",
    "\nExamples:\n  graft backbone add mobilenet_v2.h5 --name my_mobilenet\n  graft backbone add ./tfjs/model.json --preprocessing '{\"size\":150}'\n  graft backbone add ./flowers-model --name flowers_v1",
  )
  .action(run(async (source: string, flags) => (await import("./commands/backbone.js")).addBackbone(source, flags)));
storeFlag(backbone.command("show").argument("<name>"))
  .description("Layers, shapes, legal cuts, parameters and multiply-adds.")
  .option("--json", "as JSON")
  .action(run(async (name: string, flags) => (await import("./commands/backbone.js")).showBackbone(name, flags)));

program
  .command("engines")
  .summary("what can compute here")
  .option("--json", "as JSON")
  .action(run(async (flags) => (await import("./commands/doctor.js")).engines(flags)));
storeFlag(program.command("doctor"))
  .summary("check this machine and the store, with remedies")
  .option("--json", "as JSON")
  .action(run(async (flags) => (await import("./commands/doctor.js")).doctor(flags)));

/** An action whose failure is printed once, here, and becomes the exit code. */
function run<Arguments extends unknown[]>(action: (...values: Arguments) => Promise<void>): (...values: Arguments) => Promise<void> {
  return async (...values) => {
    try {
      await action(...values);
    } catch (error) {
      failWith(error, program.args.length > 0 && process.argv.includes("--json"));
    }
  };
}

function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("expected a number");
  return value;
}

function wholeNumber(text: string): number {
  const value = number(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError("expected a whole number");
  return value;
}

await program.parseAsync();
