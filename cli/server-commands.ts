import { type Command, InvalidArgumentError } from "commander";
import type { FetchFlags, GetFlags } from "./commands/jobs.js";
import type { PlanOnServerFlags } from "./commands/plan-on-server.js";
import type { LogFlags } from "./commands/pod-logs.js";
import type { SubmitFlags } from "./commands/submit.js";
import { addJobFlags } from "./job-flags.js";
import { addServerFlags, type ServerFlags } from "./server-flags.js";

/** Makes an action of one that may fail: its failure is printed, and becomes the exit code. */
export type Run = <Arguments extends unknown[]>(action: (...values: Arguments) => Promise<void>) => (...values: Arguments) => Promise<void>;

/** The commands that speak to a coordinator: all that `kubectl graft` has, and part of `graft`. Commands are imported when they run. */
export function addServerCommands(program: Command, isPlugin: boolean, run: Run): void {
  const examples = isPlugin ? pluginExamples : graftExamples;

  if (isPlugin)
    addJobFlags(addServerFlags(program.command("plan").argument("[job.yaml]", "a GraftJob"), isPlugin), { withDataset: true })
      .summary("say what a job would do, and start nothing")
      .option("--read", "read, hash and decode every picture, so that counts are exact and bad pictures are known")
      .addHelpText("after", examples.plan)
      .action(
        run(async (file: string | undefined, flags: PlanOnServerFlags) =>
          (await import("./commands/plan-on-server.js")).planOnServer(file, flags),
        ),
      );

  addJobFlags(addServerFlags(program.command("submit").argument("[job.yaml]", "a GraftJob"), isPlugin), { withDataset: true })
    .summary("hand a job to a coordinator")
    .option("--upload <dir>", "put this folder of class folders into the bucket first; it is the job's dataset")
    .option(
      "--to <s3://bucket/prefix/>",
      `where --upload puts it${isPlugin ? "; $GRAFT_S3_ENDPOINT, _ACCESS_KEY and _SECRET_KEY say how the store is reached from here" : " (default: beside the store of a cluster on this machine)"}`,
    )
    .option("--name <name>", "of the job (default: from the file)")
    .option("--request-id <uuid>", "the same id makes no second job (default: a new one)")
    .option("--watch", "show the progress until the job ends")
    .option("--wait", "wait until the job ends, without its progress; its failure is that of the command")
    .addHelpText("after", examples.submit)
    .action(run(async (file: string | undefined, flags: SubmitFlags) => (await import("./commands/submit.js")).submit(file, flags)));

  addServerFlags(program.command("get").argument("[name]", "name or id of a job"), isPlugin)
    .summary("list the jobs of a coordinator, or show one")
    .option("-A, --all-namespaces", "the jobs of all namespaces that you may list")
    .addHelpText("after", examples.get)
    .action(run(async (name: string | undefined, flags: GetFlags) => (await import("./commands/jobs.js")).get(name, flags)));
  addServerFlags(program.command("watch").argument("<name>", "name or id of a job"), isPlugin)
    .summary("show a job's progress until it ends")
    .addHelpText("after", examples.watch)
    .action(run(async (name: string, flags: ServerFlags) => (await import("./commands/watch.js")).watch(name, flags)));
  addServerFlags(program.command("explain").argument("<name>", "name or id of a job"), isPlugin)
    .summary("say why a job is where it is, down to a worker, a task or a picture")
    .addHelpText("after", examples.explain)
    .action(run(async (name: string, flags: ServerFlags) => (await import("./commands/jobs.js")).explain(name, flags)));
  addServerFlags(program.command("logs").argument("<name>", "name or id of a job"), isPlugin)
    .summary(isPlugin ? "print what the pods of a job wrote" : "print what happened to a job")
    .option("--events", `what happened to the job, from the coordinator${isPlugin ? ", and not what its pods wrote" : ""}`)
    .option(
      "--role <extractor|trainer|coordinator>",
      `on Kubernetes only pods of this role; of the coordinator's log what is about the job`,
    )
    .option("-f, --follow", "on Kubernetes go on with what is written, and with pods that are made, until the job ends")
    .option("--tail <n>", "on Kubernetes only so many lines of each pod", wholeNumber)
    .option("-p, --previous", "on Kubernetes of each container's run before this one")
    .addHelpText("after", examples.logs)
    .action(run(async (name: string, flags: LogFlags) => (await import("./commands/logs.js")).logs(name, flags)));
  for (const [action, summary] of [
    ["suspend", "stop a job's workers and keep what is done"],
    ["resume", "go on with a suspended job"],
    ["cancel", "end a job without a result"],
  ] as const)
    addServerFlags(program.command(action).argument("<name>", "name or id of a job"), isPlugin)
      .summary(summary)
      .addHelpText("after", examples[action])
      .action(run(async (name: string, flags: ServerFlags) => (await import("./commands/jobs.js")).request(action, name, flags)));
  addServerFlags(program.command("fetch").argument("<name>", "name or id of a complete job"), isPlugin)
    .summary("copy a job's result to this machine")
    .option("--out <dir>", "where to (default: ./NAME-model)")
    .addHelpText("after", examples.fetch)
    .action(run(async (name: string, flags: FetchFlags) => (await import("./commands/jobs.js")).fetchResult(name, flags)));
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("expected a whole number");
  return Number(text);
}

type Examples = Readonly<
  Record<"plan" | "submit" | "get" | "watch" | "explain" | "logs" | "suspend" | "resume" | "cancel" | "fetch", string>
>;

const graftExamples: Examples = {
  plan: "",
  submit: `
Examples:
  graft submit job.yaml --server graft.example:7070 --ca ca.pem
  graft submit --dataset s3://pictures/flowers/ --epochs 20 --watch
  graft submit --upload ./flowers --name flowers --watch`,
  get: "\nExamples:\n  graft get\n  graft get flowers --json\n  graft get -n team-a --context production",
  watch: "\nExamples:\n  graft watch flowers\n  graft watch flowers --json",
  explain: "\nExample:\n  graft explain flowers",
  logs: "\nExamples:\n  graft logs flowers\n  graft logs flowers -n team-a --role trainer --follow",
  suspend: "\nExample:\n  graft suspend flowers",
  resume: "\nExample:\n  graft resume flowers",
  cancel: "\nExample:\n  graft cancel flowers",
  fetch: "\nExample:\n  graft fetch flowers --out ./flowers-model",
};

/** As kubectl writes them. */
const pluginExamples: Examples = {
  plan: inKubectlStyle(
    ["Say what a job would do and cost", "plan job.yaml"],
    ["Read every picture for it, and print JSON", "plan job.yaml --read --json"],
  ),
  submit: inKubectlStyle(
    ["Submit a job to the namespace that its file names, else to that of the context", "submit job.yaml"],
    ["Submit it to another namespace and show its progress", "submit job.yaml -n team-a --watch"],
    ["Override fields, and wait for its end in a script", "submit job.yaml --name flowers-2 --epochs 20 --wait"],
  ),
  get: inKubectlStyle(
    ["List the jobs of the context's namespace", "get"],
    ["List those of all namespaces", "get -A"],
    ["Show one job, with what hinders it", "get flowers -n team-a"],
  ),
  watch: inKubectlStyle(
    ["Show a job's progress until it ends", "watch flowers"],
    ["The same as one JSON object a line", "watch flowers --json"],
  ),
  explain: inKubectlStyle(["Say why a job is where it is", "explain flowers"]),
  logs: inKubectlStyle(
    ["Print what the pods of a job wrote, of ended ones too", "logs flowers"],
    ["Follow its trainers", "logs flowers --role trainer -f --tail 10"],
    ["Print what the coordinator wrote about it", "logs flowers --role coordinator"],
    ["Print what happened to it", "logs flowers --events"],
  ),
  suspend: inKubectlStyle(["Stop a job's workers and keep what is done", "suspend flowers"]),
  resume: inKubectlStyle(["Go on with a suspended job", "resume flowers"]),
  cancel: inKubectlStyle(["End a job without a result", "cancel flowers"]),
  fetch: inKubectlStyle(
    ["Copy a job's result to ./flowers-model", "fetch flowers"],
    ["Copy it to a folder", "fetch flowers --out ./model"],
  ),
};

function inKubectlStyle(...examples: readonly (readonly [what: string, command: string])[]): string {
  return `\nExamples:\n${examples.map(([what, command]) => `  # ${what}\n  kubectl graft ${command}`).join("\n\n")}`;
}
