import { type Command, InvalidArgumentError } from "commander";
import type { AddFlags, BackboneFlags } from "./commands/backbone.js";
import type { ClusterFlags } from "./commands/cluster.js";
import type { DoctorFlags, EngineFlags } from "./commands/doctor.js";
import type { GcFlags } from "./commands/gc.js";
import type { PlanFlags } from "./commands/plan.js";
import type { PredictFlags } from "./commands/predict.js";
import type { TrainFlags } from "./commands/train.js";
import { addJobFlags } from "./job-flags.js";
import type { Run } from "./server-commands.js";

/** The commands that do their work on this machine, and those that look after a store or a cluster here. Commands are imported when they run. */
export function addLocalCommands(program: Command, run: Run): void {
  addJobFlags(
    storeFlag(program.command("train").argument("<dir>", "folder of class folders, or a manifest (.csv, .jsonl); or s3://bucket/prefix")),
    {
      withDataset: false,
    },
  )
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
  graft train ./flowers --optimizer sgd --learning-rate 0.01 --trainers 4
  graft train ./flowers --from ./flowers-model --learning-rate 0.001 --out ./flowers-longer`,
    )
    .action(run(async (source: string, flags: TrainFlags) => (await import("./commands/train.js")).train(source, flags)));

  addJobFlags(storeFlag(program.command("run").argument("<job.yaml>", "a GraftJob")), { withDataset: true })
    .summary("run a job file in this process")
    .description("The same as `graft train`, from a job file; flags override its fields.")
    .option("--out <dir>", "where the results go (default: ./NAME-model)")
    .option("--json", "one JSON object a line, the last one with the metrics")
    .addHelpText(
      "after",
      "\nExamples:\n  graft run examples/flowers.yaml --dataset ./flowers\n  graft run job.yaml --learning-rate 0.003 --out ./second",
    )
    .action(run(async (file: string, flags: TrainFlags) => (await import("./commands/train.js")).runJobFile(file, flags)));

  addJobFlags(storeFlag(program.command("plan").argument("<dir or job.yaml>")), { withDataset: true })
    .summary("say what a job would do, and start nothing")
    .option("--read", "read, hash and decode every picture, so that counts are exact and bad pictures are known")
    .option("--no-probe", "do not try for some seconds how fast this machine is")
    .option("--json", "the plan as JSON")
    .addHelpText("after", "\nExamples:\n  graft plan ./flowers\n  graft plan job.yaml --read --json")
    .action(run(async (source: string, flags: PlanFlags) => (await import("./commands/plan.js")).plan(source, flags)));

  program
    .command("predict")
    .argument("<out>", "the folder that `graft train --out` wrote")
    .argument("<image...>", "pictures")
    .summary("classify pictures with a trained model")
    .option("--top <n>", "classes to print", positiveWholeNumber, 5)
    .option("--json", "one JSON object a picture")
    .addHelpText("after", "\nExamples:\n  graft predict ./flowers-model rose.jpg\n  graft predict ./flowers-model *.jpg --top 1 --json")
    .action(
      run(async (out: string, images: string[], flags: PredictFlags) =>
        (await import("./commands/predict.js")).predict(out, images, flags),
      ),
    );

  program
    .command("inspect")
    .argument("<file>", "a shard, checkpoint, model, event file, metrics or passport")
    .summary("print what a file holds")
    .addHelpText("after", "\nExamples:\n  graft inspect flowers-model/passport.json\n  graft inspect ~/.graft/features/…/shards/….arrow")
    .action(run(async (file: string) => (await import("./commands/inspect.js")).inspectFile(file)));

  const backbone = program
    .command("backbone")
    .summary("list, add and show pretrained networks")
    .addHelpText(
      "after",
      "\nExamples:\n  graft backbone list\n  graft backbone add ./my-weights.h5 --topology mobilenet_v2_1.0_224\n  graft backbone show mobilenet_v2_1.0_224",
    );
  storeFlag(backbone.command("list").description("The networks that jobs can name, with origin, licence and digest."))
    .option("--json", "one JSON object a network")
    .addHelpText("after", "\nExamples:\n  graft backbone list\n  graft backbone list --json")
    .action(run(async (flags: BackboneFlags) => (await import("./commands/backbone.js")).listBackbones(flags)));
  storeFlag(
    backbone
      .command("add")
      .argument(
        "[file or folder or url...]",
        "TensorFlow.js model.json, Keras .h5, ONNX, safetensors (several files may make one network), or a result of graft",
      ),
  )
    .description("Imports weights after checking every tensor.")
    .option("--untrained", "instead of a file: random weights for --topology, to be trained from the input")
    .option("--name <name>", "the name that jobs will use (default: from the file)")
    .option("--topology <name>", "known topology, such as mobilenet_v2_1.0_224 (default: found by the tensors)")
    .option("--sha256 <hex>", "refuse the file unless it has this SHA-256")
    .option("--preprocessing <json>", 'overrides, such as \'{"size":150,"mean":[0,0,0],"deviation":[255,255,255]}\'')
    .option("--strip-prefix <text>", "take this off the front of the tensors' names, such as module.")
    .option("--add-prefix <text>", "put this in front of the tensors' names")
    .option("--keep-classifier", "keep the network's own top, which jobs leave out, so that a head can start from one of its classes")
    .option("--labels <file>", "what the outputs of its own top mean, one a line in their order; keeps the top")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
Examples:
  graft backbone add mobilenet_v2.h5 --name my_mobilenet
  graft backbone add ./tfjs/model.json --preprocessing '{"size":150}'
  graft backbone add backbone.safetensors top.safetensors --labels imagenet.txt --name mobilenet_v2_top
  graft backbone add resnet18.safetensors --topology resnet18_v1 --strip-prefix module.
  graft backbone add ./flowers-model --name flowers_v1
  graft backbone add --untrained --topology resnet18_v2_224`,
    )
    .action(run(async (sources: string[], flags: AddFlags) => (await import("./commands/backbone.js")).addBackbone(sources, flags)));
  storeFlag(backbone.command("show").argument("<name>"))
    .description("Layers, shapes, legal cuts, parameters and multiply-adds.")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExamples:\n  graft backbone show mobilenet_v2_1.0_224\n  graft backbone show mobilenet_v2_1.0_224 --json")
    .action(run(async (name: string, flags: BackboneFlags) => (await import("./commands/backbone.js")).showBackbone(name, flags)));

  program
    .command("engines")
    .summary("what can compute here")
    .option("--json", "one JSON object an engine")
    .addHelpText("after", "\nExamples:\n  graft engines\n  graft engines --json")
    .action(run(async (flags: EngineFlags) => (await import("./commands/doctor.js")).engines(flags)));
  storeFlag(program.command("doctor"))
    .summary("check this machine and the store, with remedies")
    .option("--json", "one JSON object a check")
    .addHelpText(
      "after",
      "\nExamples:\n  graft doctor\n  graft doctor --store /data/graft --json\n  graft doctor --store s3://models/graft\n\nExit code 1 if something is missing.",
    )
    .action(run(async (flags: DoctorFlags) => (await import("./commands/doctor.js")).doctor(flags)));

  const cluster = program
    .command("cluster")
    .summary("a whole cluster on this machine, for trying out")
    .addHelpText("after", "\nExamples:\n  graft cluster up --extractors 3 --trainers 3\n  graft cluster down");
  cluster
    .command("up")
    .description("Starts nats-server, MinIO, a coordinator, extractors and trainers, and prints their addresses and process ids.")
    .option("--extractors <n>", "how many", positiveWholeNumber, 2)
    .option("--trainers <n>", "how many", positiveWholeNumber, 1)
    .option("--folder <dir>", "for objects, logs and keys (default: the folder cluster in the store)")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  graft cluster up --extractors 3 --trainers 3")
    .action(run(async (flags: ClusterFlags) => (await import("./commands/cluster.js")).clusterUp(flags)));
  cluster
    .command("down")
    .description("Ends what `graft cluster up` started. Objects and logs stay.")
    .option("--folder <dir>", "as for up")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  graft cluster down")
    .action(run(async (flags: ClusterFlags) => (await import("./commands/cluster.js")).clusterDown(flags)));
  storeFlag(program.command("gc"))
    .summary("delete what is older than a day and needed by nothing")
    .description(
      "Features that no index names, damaged ones that were put aside, checkpoints of finished jobs, what is left of deleted jobs. Results and features that count are kept. Safe beside running jobs.",
    )
    .option("--dry-run", "only say what would be deleted")
    .option("--json", "one JSON object an object, the last one with the sum")
    .addHelpText("after", "\nExamples:\n  graft gc --dry-run\n  graft gc --store s3://models/graft")
    .action(run(async (flags: GcFlags) => (await import("./commands/gc.js")).gc(flags)));
}

function storeFlag(command: Command): Command {
  return command.option(
    "--store <dir or s3://bucket/prefix>",
    "where features, backbones and jobs are kept (default: $GRAFT_STORE or ~/.graft); for a bucket set $GRAFT_S3_ENDPOINT, _ACCESS_KEY, _SECRET_KEY",
  );
}

function positiveWholeNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("expected a whole number of at least 1");
  return Number(text);
}
