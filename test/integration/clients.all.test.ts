import { execFileSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { CodedError } from "../../domain/errors.js";
import type { Problem } from "../../domain/job/problems.js";
import type { JobResource, ResourcePhase } from "../../domain/job/resource.js";
import { systemClock } from "../../platform/clock/system.js";
import { staticTokens } from "../../platform/access/static-tokens.js";
import { openChannel } from "../../platform/grpc/client.js";
import { serveGrpc, type ServerTls, type RunningServer } from "../../platform/grpc/server.js";
import { grpcJobService } from "../../platform/job-service/grpc-client.js";
import { jobServiceHandlers } from "../../platform/job-service/grpc-server.js";
import type { JobService } from "../../platform/job-service/job-service.js";
import { buildClient, ClientRun, clientPython, languages, type Language, withoutLanguage } from "../support/client-programs.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { LocalCluster } from "../support/local-cluster.js";
import { runPython } from "../support/python.js";

const repository = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "graft-clients-"));
const noServers = (["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram);
const noLanguage = new Map(languages.map((language) => [language, withoutLanguage(language)]));
const commands = new Map<Language, readonly string[]>();
let cluster: LocalCluster | undefined;
let dataset = "";

const releases: (() => unknown)[] = [];
afterEach(async () => {
  for (const release of releases.splice(0).reverse()) await release();
});

beforeAll(async () => {
  for (const [language, missing] of noLanguage) if (missing === undefined) commands.set(language, buildClient(language));
  if (noServers.length > 0) return;
  cluster = await LocalCluster.up(join(folder, "cluster"), { extractors: 1, trainers: 1 });
  dataset = await cluster.upload(join(repository, "samples/flowers"), "flowers");
});
afterAll(async () => {
  await cluster?.down();
  rmSync(folder, { recursive: true, force: true });
});

/** A test of every client; what is missing for it stands in its name. */
function ofEachClient(needs: readonly string[], name: string, body: (language: Language) => Promise<void>): void {
  for (const language of languages) {
    const missing = [noLanguage.get(language) ?? [], needs].flat();
    const because = missing.length === 0 ? "" : ` (${missing.join("; ")})`;
    test.skipIf(missing.length > 0)(`${language}: ${name}${because}`, () => body(language));
  }
}

function start(language: Language, args: readonly string[]): ClientRun {
  const run = new ClientRun(commands.get(language)!, args, folder);
  releases.push(() => run.kill());
  return run;
}

/** graft's own client, to compare with. */
function ownClient(server: string): JobService {
  const channel = openChannel({ address: server, tls: "plaintext" });
  releases.push(() => channel.close());
  return grpcJobService(channel, { clock: systemClock, random: Math.random });
}

function filesUnder(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .sort();
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const started = /^(SCANNING|PLANNING|EXTRACTING|TRAINING)/;
const signals = { python: "SIGTERM", go: "SIGKILL", java: "SIGTERM" } as const;
const weights = new Map<Language, string>();

ofEachClient(noServers, "submits, watches across a restart of the coordinator, fetches what the server said", async (language) => {
  const { state } = cluster!;
  const out = join(folder, language);
  const server = ["--server", state.server, "--plaintext"];
  const recipe = ["--dataset", dataset, "--backbone", "mobilenet_v2_0.35_224", "--steps", "40", "--name", `flowers-${language}`];
  const job = [...recipe, "--request-id", randomUUID(), "--out", out];

  // 1. The coordinator goes away while the client watches, and comes back.
  const run = start(language, [...server, ...job]);
  await run.printed("out", started);
  releases.push(() => cluster!.startCoordinator());
  await cluster!.endCoordinator(signals[language]);
  expect(run.out.join("\n")).not.toContain("COMPLETE");
  await run.printed("errors", /^connection lost .*trying again in/);
  await cluster!.startCoordinator();
  expect(await run.ended, [...run.out, ...run.errors].join("\n")).toBe(0);
  expect(run.out.filter((line) => line.startsWith("COMPLETE"))).toHaveLength(1);

  // 2. What it fetched is the result, and nothing else lies there.
  const [, uid = ""] = /^submitted \S+ \((\S+)\)/.exec(run.out[0] ?? "") ?? [];
  const { summary, files } = await ownClient(state.server).getResult({ name: uid });
  expect(filesUnder(out)).toEqual(files.map(({ path }) => path).sort());
  for (const { path, bytes, sha256: digest } of files) {
    const body = readFileSync(join(out, path));
    expect([path, body.length, sha256(body)]).toEqual([path, bytes, digest]);
    expect(run.out).toContain(`fetched ${path} ${bytes} ${digest}`);
  }
  expect(run.out.at(-1)).toContain(`weights ${summary.weightsSha256}`);
  weights.set(language, summary.weightsSha256);
  expect(new Set(weights.values()).size).toBe(1);

  // 3. The same request once more is the same job.
  const again = start(language, [...server, ...job]);
  expect(await again.ended).toBe(0);
  expect(again.out[0]).toBe(run.out[0]);
});

const mistakes = {
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: { name: "mistakes" },
  spec: {
    dataset: { source: "s3://graft/flowers/", split: { trainPercent: 90, validationPercent: 20, testPercent: 10 } },
    backbone: { digest: "abc" },
    head: { layers: [{ dense: { units: 0 } }, { dropout: { rate: 1 } }] },
    training: { steps: -1, batchSize: 0, grains: 3, labelSmoothing: 2, optimizer: { sgd: { learningRate: -1 } } },
    minimumAccuracy: 2,
  },
};

ofEachClient(noServers, "prints all ten mistakes of a spec", async (language) => {
  const { server } = cluster!.state;
  const refusal = await ownClient(server)
    .submitJob(randomUUID(), mistakes)
    .catch((error: unknown) => error as CodedError);
  const problems = (refusal as CodedError).details["problems"] as Problem[];
  expect(problems).toHaveLength(10);
  const file = join(folder, `mistakes-${language}.json`);
  writeFileSync(file, JSON.stringify(mistakes));
  const run = start(language, ["--server", server, "--plaintext", "--job", file]);
  expect(await run.ended).toBe(2);
  expect(run.errors.slice(1)).toEqual(["code: SPEC_INVALID", ...problems.map(({ path, message }) => `  ${path}: ${message}`)]);
  expect(run.out).toEqual([]);
});

const noReflection = [clientPython()].flatMap((python) => ("missing" in python ? [python.missing] : []));

test.skipIf(noServers.length + noReflection.length > 0)(
  `a reflection client finds services, methods and messages${[...noServers, ...noReflection].map((why) => ` (${why})`).join("")}`,
  () => {
    const python = clientPython() as { readonly python: string };
    const script = join(repository, "test/support/reflect.py");
    const found = JSON.parse(runPython(python.python, script, cluster!.state.server)) as {
      readonly services: Readonly<Record<string, readonly string[]>>;
      readonly job: readonly string[];
    };
    expect(Object.keys(found.services)).toEqual(expect.arrayContaining(["graft.v1.JobService", "graft.v1.WorkService"]));
    expect(found.services["graft.v1.JobService"]).toEqual(expect.arrayContaining(["SubmitJob", "WatchJob", "GetResult"]));
    expect(found.job).toEqual(["api_version", "kind", "metadata", "spec", "status"]);
  },
);

const at = (resourceVersion: string, phase: ResourcePhase): JobResource => ({
  apiVersion: "graft.dev/v1alpha1",
  kind: "GraftJob",
  metadata: { name: "made-up", uid: "made-up-uid", resourceVersion },
  spec: { dataset: { source: "s3://pictures/" } },
  status: { phase, suspended: false },
});

const notAsked = async (): Promise<never> => {
  throw new Error("not expected in this test");
};

/** A server with a token, and with TLS where this machine can make a certificate, whose job has one file; `flags` are for the client. */
async function madeUpServer(jobs: Partial<JobService>, sent: string, said: string) {
  const store = createServer((_request, response) => response.end(sent)).listen(0, "127.0.0.1");
  await once(store, "listening");
  releases.push(() => store.close());
  const url = `http://127.0.0.1:${(store.address() as AddressInfo).port}/labels.txt`;
  const file = { path: "a/labels.txt", bytes: Buffer.byteLength(said), sha256: sha256(Buffer.from(said)), url };
  const service: JobService = {
    submitJob: async () => at("1", "PENDING"),
    getJob: async () => at("1", "PENDING"),
    watchJob: async function* () {
      yield at("9", "COMPLETE");
    },
    getResult: async () => ({
      summary: { location: "s3://results/", weightsSha256: "ab".repeat(32) },
      metricsJson: "{}",
      files: [file],
    }),
    ...{ planJob: notAsked, listJobs: notAsked, suspendJob: notAsked, resumeJob: notAsked, cancelJob: notAsked },
    ...{ explainJob: notAsked, listJobEvents: notAsked },
    readResultFile: async function* () {
      await notAsked();
    },
    ...jobs,
  };
  const tls = certificate();
  const server: RunningServer = await serveGrpc({
    address: "127.0.0.1:0",
    tls: tls?.files,
    access: staticTokens({ worker: ["worker-token"], client: ["client-token"] }),
    services: [jobServiceHandlers(() => service)],
    onUnexpected: (error) => {
      throw error;
    },
  });
  releases.push(() => server.stop(0));
  const token = join(folder, "token");
  writeFileSync(token, "client-token\n");
  const transport = tls === undefined ? ["--plaintext"] : ["--ca", tls.ca];
  const address = ["--server", `127.0.0.1:${server.port}`, ...transport];
  return { address, flags: [...address, "--token-file", token, "--dataset", "s3://pictures/"] };
}

/** Of this machine's own making. */
function certificate(): { readonly files: ServerTls; readonly ca: string } | undefined {
  const [key, ca] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  try {
    execFileSync("openssl", ["req", ...kind, ...names, "-keyout", key, "-out", ca], { stdio: "pipe" });
  } catch {
    return undefined;
  }
  return { files: { certificate: readFileSync(ca), key: readFileSync(key) }, ca };
}

ofEachClient([], "watches again from the version that it saw last; token and certificate go along", async (language) => {
  const seen: (string | undefined)[] = [];
  const { flags } = await madeUpServer(
    {
      watchJob: async function* (_job, resourceVersion) {
        seen.push(resourceVersion);
        if (seen.length === 1) {
          yield at("7", "EXTRACTING");
          yield at("8", "TRAINING");
          throw new CodedError("SERVER_UNAVAILABLE", "the server stops");
        }
        // A stream that ends early without an error is a lost connection too.
        if (seen.length === 3) yield at("9", "COMPLETE");
      },
    },
    "roses\n",
    "roses\n",
  );
  const out = join(folder, `made-up-${language}`);
  const run = start(language, [...flags, "--out", out]);
  expect(await run.ended, run.errors.join("\n")).toBe(0);
  expect(seen).toEqual([undefined, "8", "8"]);
  expect(run.errors).toHaveLength(2);
  expect(run.out.slice(1, 4)).toEqual(["EXTRACTING", "TRAINING", "COMPLETE"]);
  expect(readFileSync(join(out, "a/labels.txt"), "utf8")).toBe("roses\n");
});

ofEachClient([], "a file without a url is read through the server, on from where the connection was lost", async (language) => {
  const asked: unknown[] = [];
  const body = Buffer.from("roses\ntulips\n");
  const { flags } = await madeUpServer(
    {
      getResult: async () => ({
        summary: { location: "/store", weightsSha256: "ab".repeat(32) },
        metricsJson: "{}",
        files: [{ path: "a/labels.txt", bytes: body.length, sha256: sha256(body), url: undefined }],
      }),
      readResultFile: async function* (job, path, offset) {
        asked.push([job, path, offset]);
        yield body.subarray(offset, offset + 8);
        if (asked.length === 1) throw new CodedError("SERVER_UNAVAILABLE", "the server stops");
      },
    },
    "",
    "",
  );
  const out = join(folder, `without-url-${language}`);
  const run = start(language, [...flags, "--out", out]);
  expect(await run.ended, run.errors.join("\n")).toBe(0);
  expect(readFileSync(join(out, "a/labels.txt"))).toEqual(body);
  expect(asked).toEqual([
    [{ name: "made-up-uid" }, "a/labels.txt", 0],
    [{ name: "made-up-uid" }, "a/labels.txt", 8],
  ]);
});

ofEachClient([], "a file that is not what the server said is refused and leaves nothing", async (language) => {
  const { flags } = await madeUpServer({}, "rose\n", "roses\n");
  const out = join(folder, `wrong-${language}`);
  const run = start(language, [...flags, "--out", out]);
  expect(await run.ended).toBe(7);
  expect(run.errors.join("\n")).toContain(sha256(Buffer.from("rose\n")));
  expect(filesUnder(out)).toEqual([]);
});

ofEachClient([], "a token that is missing, a job that failed, and an error with a long message are told apart", async (language) => {
  const long = `backbone "${"é".repeat(700)}" is not in the store`;
  const { address, flags } = await madeUpServer(
    {
      submitJob: async (_id, { metadata }) => {
        if (metadata.name === "long") throw new CodedError("BACKBONE_UNKNOWN", long);
        return at("1", "PENDING");
      },
      watchJob: async function* () {
        yield {
          ...at("2", "FAILED"),
          status: { phase: "FAILED", suspended: false, failure: { code: "ACCURACY_TOO_LOW", message: "0.5" } },
        };
      },
    },
    "",
    "",
  );
  const stranger = start(language, [...address, "--dataset", "s3://pictures/"]);
  expect(await stranger.ended).toBe(6);
  expect(stranger.errors).toContain("code: ACCESS_DENIED");
  const failed = start(language, flags);
  expect(await failed.ended).toBe(4);
  expect(failed.errors).toEqual(["the job ended without a result: ACCURACY_TOO_LOW 0.5"]);
  const unknown = start(language, [...flags, "--name", "long"]);
  expect(await unknown.ended, unknown.errors.join("\n")).toBe(3);
  expect(unknown.errors).toContain("code: BACKBONE_UNKNOWN");
});
