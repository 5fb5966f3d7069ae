import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { JobSpec } from "../../domain/job/spec.js";
import { goProgram, withoutProgram } from "../support/go-program.js";
import { missingForControlPlane } from "../support/kubernetes/cluster.js";
import { GraftCluster } from "../support/kubernetes/graft-cluster.js";
import { finished, jobOn, richJob, samplePictures, temporaryFolder } from "../support/local-jobs.js";
import { startTcpProxy } from "../support/tcp-proxy.js";
import type { KillAt, ServiceProcess } from "../support/test-cluster.js";

const missing = [
  ...(missingForControlPlane() === undefined ? [] : [missingForControlPlane()]),
  ...(["nats-server", "minio"] as const).filter((name) => goProgram(name) === undefined).map(withoutProgram),
];
const because = missing.length === 0 ? "a control plane of its own" : missing.join("; ");

/** Of the coordinators that `GraftCluster` starts. */
const LEASE_MS = 3_000;
/** For machines that are busy with other things; on an idle one nothing of it is used. */
const BUSY_MS = 5_000;

describe.skipIf(missing.length > 0)(`two coordinators, of which one leads (${because})`, () => {
  const folder = temporaryFolder();
  const pictures = samplePictures(join(folder.path, "pictures"), 24);
  // Features that no other test has, so that they are extracted.
  const freshJob = { ...richJob, preprocessing: { size: 64 } };
  let graft: GraftCluster;
  let source = "";
  let digests: Readonly<Record<"rich" | "fresh", string>>;
  let leader: ServiceProcess | undefined;

  beforeAll(async () => {
    const digestOf = async (name: string, job: JobSpec): Promise<string> =>
      (await finished({ store: join(folder.path, name), spec: jobOn(pictures, job) })).result.metrics.weightsSha256;
    graft = await GraftCluster.start();
    digests = { rich: await digestOf("rich", richJob), fresh: await digestOf("fresh", freshJob) };
    source = await graft.upload(pictures);
  });
  afterAll(async () => {
    await graft?.stop();
    folder.remove();
  });

  const submit = async (name: string, job: JobSpec = richJob): Promise<void> => {
    const spec = jobOn(source, job, { trainers: 1, extractors: 2 });
    await graft.submit(name, { ...spec, dataset: { ...spec.dataset, credentialsSecret: "pictures" } });
  };
  const serving = ({ msg }: { readonly msg: string }): boolean => msg === "serving";
  /** When a coordinator first said something with that in it. */
  const saidMs = async (coordinator: ServiceProcess, what: string): Promise<number> =>
    Date.parse(String((await coordinator.logged(({ msg }) => msg.includes(what)))["time"]));

  /** One that leads, which hands over where another one did before, and one that stands by. */
  const pair = async (options: Parameters<GraftCluster["coordinator"]>[0] = {}): Promise<[ServiceProcess, ServiceProcess]> => {
    const next = await graft.coordinator(options);
    await leader?.kill("SIGTERM");
    await next.logged(serving);
    const standby = await graft.coordinator();
    leader = standby; // by the end of the test
    return [next, standby];
  };

  /** Checks that another one leads within the lease after the one that did was last heard of, at `leftMs`. */
  const checkTakeOver = async (when: string, leftMs: number, standby: ServiceProcess): Promise<void> => {
    const leadsMs = (await saidMs(standby, "leading")) - leftMs;
    const servesMs = (await saidMs(standby, "serving")) - leftMs;
    console.info(`${when}: the other one leads after ${String(leadsMs)} ms and serves after ${String(servesMs)} ms`);
    expect(leadsMs).toBeLessThanOrEqual(LEASE_MS + BUSY_MS);
  };

  /** A trainer of the job that has frozen where its fate says. */
  const frozenTrainer = async (job: string): Promise<number> => {
    const { child } = await graft.kubelet.pod(({ name, role }) => role === "trainer" && name.startsWith(`${job}-`));
    const stateOf = (): string | undefined => /\) (\w)/.exec(readFileSync(`/proc/${String(child.pid)}/stat`, "utf8"))?.[1];
    await vi.waitFor(() => expect(stateOf()).toBe("T"), { timeout: 120_000, interval: 50 });
    return child.pid!;
  };

  test("two that start at once: one leads, the other one waits, and a job is done once", async () => {
    const [one, other] = await Promise.all([graft.coordinator(), graft.coordinator()]);
    leader = await Promise.race([one, other].map((each) => each.logged(serving).then(() => each)));
    await submit("double");
    expect(await graft.digest("double")).toBe(digests.rich);
    const standby = leader === one ? other : one;
    expect(standby.lines.map(({ msg }) => msg)).not.toContain("leading");

    // A stop hands over at once.
    const stoppedMs = Date.now();
    await leader.kill("SIGTERM");
    const tookMs = (await saidMs(standby, "serving")) - stoppedMs;
    console.info(`after SIGTERM: the other one serves after ${String(tookMs)} ms`);
    expect(tookMs).toBeLessThan(LEASE_MS);
    leader = standby;
  });

  test.each([
    ["after scan", "rich"],
    ["after plan", "rich"],
    ["after commit", "fresh"],
    ["after samples", "rich"],
    ["after result", "rich"],
  ] as const)("killed %s: the other one takes over, the weights are the same", async (milestone, job) => {
    const name = milestone.replace(" ", "-");
    const killAt: KillAt = { milestone };
    const [killed, standby] = await pair({ killAt });
    await submit(name, job === "fresh" ? freshJob : richJob);
    expect((await killed.ended).signal).toBe("SIGKILL");
    const killedMs = Date.now();
    expect(await graft.digest(name)).toBe(digests[job]);
    await checkTakeOver(`killed ${milestone}`, killedMs, standby);
  });

  test.each([
    ["in training", "TRAINING", { milestone: "between updates", occurrence: 60 }],
    ["in evaluation", "EVALUATING", { milestone: "after evaluation" }],
    ["in export", "EXPORTING", { milestone: "mid export" }],
  ] as const)("killed %s: the other one takes over, the weights are the same", async (when, phase, stopAt) => {
    const name = when.replace(" ", "-");
    const [killed, standby] = await pair();
    graft.kubelet.fate = (pod) => (pod.metadata?.name?.startsWith(`${name}-trainers`) === true ? { kind: "run", stopAt } : { kind: "run" });
    await submit(name);
    const trainer = await frozenTrainer(name);
    await graft.wait(name, `jsonpath={.status.phase}=${phase}`);
    const killedMs = Date.now();
    await killed.kill();
    process.kill(trainer, "SIGCONT");
    graft.kubelet.fate = () => ({ kind: "run" });
    expect(await graft.digest(name)).toBe(digests.rich);
    await checkTakeOver(`killed ${when}`, killedMs, standby);
  });

  test("one that stands still for longer than its lease and wakes stops, and does no harm", async () => {
    const [frozen, standby] = await pair();
    await submit("frozen");
    await graft.wait("frozen", "jsonpath={.status.phase}=TRAINING");
    const frozenMs = Date.now();
    await frozen.kill("SIGSTOP");
    await standby.logged(serving);
    const before = frozen.lines.length;
    const wokenMs = Date.now();
    await frozen.kill("SIGCONT");
    expect(await frozen.ended).toMatchObject({ code: 0 });
    console.info(`woken: ended after ${String(Date.now() - wokenMs)} ms`);
    expect(frozen.lines.slice(before).map(({ msg }) => msg)).toEqual(expect.arrayContaining(["stopped"]));
    expect(await graft.digest("frozen")).toBe(digests.rich);
    await checkTakeOver("frozen", frozenMs, standby);
  });

  test("one that does not reach the API server any more stops before the other one begins", async () => {
    const wire = await startTcpProxy(() => Number(new URL(graft.control.server).port));
    const kubeconfig = join(folder.path, "wired-kubeconfig");
    const direct = readFileSync(graft.control.kubeconfig, "utf8");
    writeFileSync(kubeconfig, direct.replaceAll(graft.control.server, `https://127.0.0.1:${String(wire.port)}`));
    try {
      const [cutOff, standby] = await pair({ kubernetes: { kubeconfig } });
      await submit("cut-off");
      await graft.wait("cut-off", "jsonpath={.status.phase}=TRAINING");
      const cutMs = Date.now();
      wire.cut();
      expect(await cutOff.ended).toMatchObject({ signal: null });
      const endedMs = Date.now() - cutMs;
      console.info(`cut off: ended after ${String(endedMs)} ms`);
      expect(endedMs).toBeLessThan(LEASE_MS + BUSY_MS); // of its requests none is waited for
      expect(await saidMs(cutOff, "could not be renewed in time")).toBeLessThan(await saidMs(standby, "leading"));
      expect(await graft.digest("cut-off")).toBe(digests.rich);
      await checkTakeOver("cut off", cutMs, standby);
    } finally {
      wire.stop();
    }
  });
});
