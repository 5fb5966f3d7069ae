import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import {
  AuthenticationV1TokenRequest,
  CoordinationV1Api,
  CoreV1Api,
  KubeConfig,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
  V1BoundObjectReference,
  V1MicroTime,
  type V1Pod,
  V1TokenRequestSpec,
} from "@kubernetes/client-node";
import { keyOf } from "../../../platform/kubernetes/kubernetes.js";
import type { KillAt } from "../test-cluster.js";

/** How a pod's container is to end, or not to begin, instead of running as it is. */
export type PodFate =
  /** `stopAt`: it freezes at that point of its life. */
  | { readonly kind: "run"; readonly stopAt?: Omit<KillAt, "signal"> }
  | { readonly kind: "imagePull"; readonly reason: "ImagePullBackOff" | "ErrImagePull" }
  | { readonly kind: "end"; readonly exitCode: number; readonly reason: "Error" | "OOMKilled"; readonly message: string };

/** A pod whose worker runs as a process of this machine. */
export interface RunningPod {
  readonly name: string;
  readonly uid: string;
  readonly role: "extractor" | "trainer";
  readonly child: ChildProcess;
  readonly lines: Readonly<Record<string, unknown>>[];
  readonly ended: Promise<void>;
}

const program = join(
  process.env["GRAFT_TEST_DIST"] ?? resolve(import.meta.dirname, "../../../dist").replace(/dist.dist$/, "dist"),
  "test/support/service.js",
);
const NODE = "processes";
const mergePatch = setHeaderOptions("Content-Type", PatchStrategy.StrategicMergePatch);

/**
 * A node of a control plane without nodes: pods that the scheduler gives to it run as processes of this machine, with the arguments of their container, and their objects say what a kubelet would say of them.
 * `configOf` is the config file's content in place of the mounted one.
 */
export class ProcessKubelet {
  readonly running = new Map<string, RunningPod>();
  /** Every pod that ever ran, by name. */
  readonly all: RunningPod[] = [];
  private readonly core: CoreV1Api;
  private readonly leases: CoordinationV1Api;
  private readonly config: KubeConfig;
  private readonly folder = mkdtempSync(join(tmpdir(), "graft-kubelet-"));
  private readonly over = new AbortController();
  private readonly seen = new Set<string>();
  private readonly watchers = new Set<() => void>();
  private readonly configOf: (role: "extractor" | "trainer") => Readonly<Record<string, unknown>>;
  /** What is to become of a pod that comes. */
  fate: (pod: V1Pod) => PodFate = () => ({ kind: "run" });

  constructor(kubeconfig: string, configOf: (role: "extractor" | "trainer") => Readonly<Record<string, unknown>>) {
    this.config = new KubeConfig();
    this.config.loadFromFile(kubeconfig);
    this.core = this.config.makeApiClient(CoreV1Api);
    this.leases = this.config.makeApiClient(CoordinationV1Api);
    this.configOf = configOf;
  }

  async start(): Promise<void> {
    await this.core.createNode({ body: { metadata: { name: NODE } } });
    const capacity = { cpu: "64", memory: "64Gi", pods: "110" };
    const ready = {
      type: "Ready",
      status: "True",
      reason: "Processes",
      message: "",
      lastHeartbeatTime: new Date(),
      lastTransitionTime: new Date(),
    };
    await this.core.patchNodeStatus({ name: NODE, body: { status: { capacity, allocatable: capacity, conditions: [ready] } } }, mergePatch);
    const namespace = "kube-node-lease";
    await this.core.createNamespace({ body: { metadata: { name: namespace } } }).catch(() => undefined);
    const renew = async (): Promise<void> => {
      const spec = { holderIdentity: NODE, leaseDurationSeconds: 40, renewTime: new V1MicroTime() };
      await this.leases
        .patchNamespacedLease({ name: NODE, namespace, body: { spec } }, mergePatch)
        .catch(() => this.leases.createNamespacedLease({ namespace, body: { metadata: { name: NODE, namespace }, spec } }))
        .catch(() => undefined);
    };
    await renew();
    const timer = setInterval(() => void renew(), 10_000);
    this.over.signal.addEventListener("abort", () => clearInterval(timer));
    const fieldSelector = `spec.nodeName=${NODE}`;
    const informer = makeInformer<V1Pod>(this.config, "/api/v1/pods", () => this.core.listPodForAllNamespaces({ fieldSelector }));
    const changed = (pod: V1Pod): void => {
      if (pod.spec?.nodeName === NODE) void this.onPod(pod).catch((error: unknown) => this.over.signal.aborted || console.error(error));
    };
    informer.on("add", changed);
    informer.on("update", changed);
    informer.on("error", () => {
      if (!this.over.signal.aborted) setTimeout(() => void informer.start(), 200);
    });
    this.over.signal.addEventListener("abort", () => void informer.stop());
    await informer.start();
  }

  /** The first pod that runs and is accepted, now or later. */
  async pod(accepts: (pod: RunningPod) => boolean): Promise<RunningPod> {
    for (;;) {
      const found = [...this.running.values()].find(accepts);
      if (found !== undefined) return found;
      await this.changed();
    }
  }

  /** Resolves once `holds` does, which is looked at with every change of a pod and every line that one logs. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await this.changed();
  }

  async stop(): Promise<void> {
    this.over.abort();
    const running = [...this.running.values()];
    for (const { child } of running) child.kill("SIGKILL");
    await Promise.all(running.map(({ ended }) => ended));
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async onPod(pod: V1Pod): Promise<void> {
    const { name = "", uid = "", namespace = "", labels = {}, deletionTimestamp } = pod.metadata ?? {};
    if (deletionTimestamp !== undefined) {
      const running = this.running.get(name);
      if (running !== undefined) {
        running.child.kill("SIGTERM");
        await running.ended;
      }
      await this.core
        .deleteNamespacedPod({ name, namespace, body: { gracePeriodSeconds: 0, preconditions: { uid } } })
        .catch(() => undefined);
      return;
    }
    if (this.seen.has(uid) || pod.status?.phase !== "Pending") return;
    this.seen.add(uid);
    const role = labels["app.kubernetes.io/component"] as RunningPod["role"];
    const fate = this.fate(pod);
    const startedAt = new Date();
    const container = { name: "worker", image: pod.spec?.containers[0]?.image ?? "", imageID: "", ready: false, restartCount: 0 };
    if (fate.kind === "imagePull") {
      const waiting = { reason: fate.reason, message: `cannot pull image "${container.image}": not found` };
      await this.say(pod, { phase: "Pending", containerStatuses: [{ ...container, state: { waiting } }] });
      return;
    }
    await this.say(pod, { phase: "Running", containerStatuses: [{ ...container, ready: true, state: { running: { startedAt } } }] });
    const end = async (exitCode: number, reason: string, message: string, signal?: number): Promise<void> => {
      const terminated = {
        exitCode,
        reason,
        startedAt,
        finishedAt: new Date(),
        ...(message !== "" && { message }),
        ...(signal !== undefined && { signal }),
      };
      await this.say(pod, { phase: exitCode === 0 ? "Succeeded" : "Failed", containerStatuses: [{ ...container, state: { terminated } }] });
    };
    if (fate.kind === "end") return end(fate.exitCode, fate.reason, fate.message);
    await this.run(pod, role, end, fate.stopAt);
  }

  private async run(
    pod: V1Pod,
    role: RunningPod["role"],
    end: (exitCode: number, reason: string, message: string) => Promise<void>,
    stopAt: Omit<KillAt, "signal"> | undefined,
  ): Promise<void> {
    const { name = "", uid = "", namespace = "" } = pod.metadata ?? {};
    const own = join(this.folder, name);
    mkdirSync(own, { recursive: true });
    const tokenFile = join(own, "token");
    writeFileSync(tokenFile, await this.token(pod));
    const config = this.configOf(role);
    const coordinator = { ...(config["coordinator"] as object), tokenFile };
    writeFileSync(join(own, "config.json"), JSON.stringify({ ...config, coordinator }));
    const args = (pod.spec?.containers.find((each) => each.name === "worker")?.args ?? []).map((arg) => arg.replace("$(POD_NAME)", name));
    args[args.indexOf("--config") + 1] = join(own, "config.json");
    const mounted = args.indexOf("--dataset-credentials");
    if (mounted >= 0) {
      const secretName = pod.spec?.volumes?.find(({ secret }) => secret !== undefined && secret !== null)?.secret?.secretName ?? "";
      const { data = {} } = await this.core.readNamespacedSecret({ name: secretName, namespace });
      mkdirSync(join(own, "dataset"));
      for (const [key, value] of Object.entries(data)) writeFileSync(join(own, "dataset", key), Buffer.from(value, "base64"));
      args[mounted + 1] = join(own, "dataset");
    }
    if (stopAt !== undefined) args.push("--kill", stopAt.milestone, String(stopAt.occurrence ?? 1), "SIGSTOP");
    const child = spawn(process.execPath, [program, role, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    const lines: Readonly<Record<string, unknown>>[] = [];
    let last = "";
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (process.env["GRAFT_TEST_LOGS"] !== undefined) process.stderr.write(`${name} ${line}\n`);
      last = line;
      if (line.startsWith("{")) lines.push(JSON.parse(line) as Readonly<Record<string, unknown>>);
      this.wake();
    });
    const ended = once(child, "exit").then(async ([code, signal]) => {
      this.running.delete(name);
      const exitCode = (code as number | null) ?? 128 + ({ SIGKILL: 9, SIGTERM: 15 }[String(signal)] ?? 1);
      await end(exitCode, exitCode === 0 ? "Completed" : "Error", exitCode === 0 ? "" : last).catch(() => undefined);
      this.wake();
    });
    const running = { name, uid, role, child, lines, ended };
    this.running.set(name, running);
    this.all.push(running);
    this.wake();
  }

  /** The one that a projected volume would hold: of the pod's service account, bound to the pod, for graft. */
  private async token(pod: V1Pod): Promise<string> {
    const { namespace, name, uid } = keyOf(pod);
    const boundObjectRef = Object.assign(new V1BoundObjectReference(), { apiVersion: "v1", kind: "Pod", name, uid });
    const spec = Object.assign(new V1TokenRequestSpec(), { audiences: ["graft"], expirationSeconds: 3_600, boundObjectRef });
    const body = Object.assign(new AuthenticationV1TokenRequest(), { spec });
    const account = pod.spec?.serviceAccountName ?? "default";
    const { status } = await this.core.createNamespacedServiceAccountToken({ namespace, name: account, body });
    return status?.token ?? "";
  }

  private async say(pod: V1Pod, status: object): Promise<void> {
    const { name = "", namespace = "" } = pod.metadata ?? {};
    await this.core.patchNamespacedPodStatus({ name, namespace, body: { status } }, mergePatch);
  }

  private async changed(): Promise<void> {
    await new Promise<void>((resolve) => this.watchers.add(resolve));
  }

  private wake(): void {
    for (const watcher of this.watchers) watcher();
    this.watchers.clear();
  }
}
