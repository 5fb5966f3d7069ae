import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CustomObjectsApi, KubeConfig, type KubernetesListObject, type KubernetesObject, makeInformer } from "@kubernetes/client-node";
import { freePort } from "../../../cli/free-port.js";
import type { JobSpec } from "../../../domain/job/spec.js";
import { type GraftJobObject, GROUP, PLURAL, VERSION } from "../../../formats/kubernetes/objects.js";
import { uploadTo } from "../../../platform/dataset-source/open-dataset.js";
import { systemClock } from "../../../platform/clock/system.js";
import { openObjectStore } from "../../../platform/object-store/open-store.js";
import type { ObjectStore } from "../../../platform/object-store/object-store.js";
import { type MinioServer } from "../minio.js";
import { type NatsServer } from "../nats-server.js";
import { startTcpProxy, type TcpProxy } from "../tcp-proxy.js";
import { type KillAt, ServiceProcess, startServers, stopServers } from "../test-cluster.js";
import { startControlPlane, type TestCluster } from "./cluster.js";
import { installCrd } from "./install-crd.js";
import { ProcessKubelet } from "./process-kubelet.js";

export const NAMESPACE = "team-a";
const retries = { clock: systemClock, random: Math.random };

/** graft on a real API server: coordinator, extractors and trainers are processes of this machine, the latter two with pod objects; store and bus are real. */
export class GraftCluster {
  readonly control: TestCluster;
  readonly minio: MinioServer;
  readonly nats: NatsServer;
  readonly kubelet: ProcessKubelet;
  readonly coordinators: ServiceProcess[] = [];
  /** Where workers find whichever coordinator leads. */
  readonly front: TcpProxy;
  private readonly leading: { port: number };
  private readonly folder: string;
  private started = 0;

  private constructor(parts: Pick<GraftCluster, "control" | "minio" | "nats" | "front"> & { readonly leading: { port: number } }) {
    this.control = parts.control;
    this.minio = parts.minio;
    this.nats = parts.nats;
    this.front = parts.front;
    this.leading = parts.leading;
    this.folder = mkdtempSync(join(tmpdir(), "graft-kubernetes-"));
    this.kubelet = new ProcessKubelet(this.control.kubeconfig, (role) => this.workerConfig(role));
  }

  static async start(): Promise<GraftCluster> {
    const [control, { minio, nats }] = await Promise.all([startControlPlane(), startServers()]);
    const leading = { port: 0 };
    const front = await startTcpProxy(() => leading.port);
    const cluster = new GraftCluster({ control, minio, nats, front, leading });
    await installCrd(control);
    await minio.makeBucket("graft");
    await cluster.prepareNamespace(NAMESPACE);
    await cluster.kubelet.start();
    return cluster;
  }

  /** What deploy/k8s/namespace brings, as far as processes need it. */
  async prepareNamespace(namespace: string): Promise<void> {
    const template = (role: string) => ({
      apiVersion: "v1",
      kind: "PodTemplate",
      metadata: { name: `graft-${role}`, namespace },
      template: {
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 30,
          containers: [
            {
              name: "worker",
              image: `graft-${role}:test`,
              args: ["--config", "/etc/graft/config.yaml"],
              resources: { requests: { cpu: "100m" } },
            },
          ],
        },
      },
    });
    const { endpoint, accessKey, secretKey } = this.minio.access;
    const objects = [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      template("extractor"),
      template("trainer"),
      {
        apiVersion: "v1",
        kind: "Secret",
        type: "graft.dev/dataset-credentials",
        metadata: { name: "pictures", namespace },
        stringData: { endpoint, accessKey, secretKey },
      },
    ];
    await this.apply(...objects);
  }

  /** Starts a coordinator; the first one leads, others stand by. `config` is over what each has in its `kubernetes` block. */
  async coordinator(
    options: {
      readonly kubernetes?: Readonly<Record<string, unknown>>;
      readonly killAt?: KillAt;
      readonly config?: Readonly<Record<string, unknown>>;
    } = {},
  ): Promise<ServiceProcess> {
    const name = `coordinator-${String(this.started++)}`; // before anything is waited for: of two that start at once each has its own
    const port = await freePort();
    const file = join(this.folder, `${name}.json`);
    const kubernetes = {
      kubeconfig: this.control.kubeconfig,
      namespace: "default",
      podName: name,
      leaseMs: 3_000,
      progressMs: 500,
      ...options.kubernetes,
    };
    writeFileSync(
      file,
      JSON.stringify({
        listen: `127.0.0.1:${String(port)}`,
        store: this.store,
        stepDeadlineMs: 3_000,
        leaseMs: 5_000,
        kubernetes,
        ...options.config,
      }),
    );
    const started = new ServiceProcess(name, "coordinator", file, options.killAt);
    this.coordinators.push(started);
    void started
      .logged(({ msg }) => msg === "serving")
      .then(
        () => {
          this.leading.port = port;
          this.front.reset();
        },
        () => undefined, // ended before it led
      );
    await started.logged(({ msg }) => msg === "standing by");
    return started;
  }

  async apply(...objects: readonly object[]): Promise<string> {
    return this.control.kubectl(["apply", "-f", "-"], objects.map((object) => JSON.stringify(object)).join("\n---\n"));
  }

  /** `kubectl apply` of a GraftJob on the pictures that `upload` brought. */
  async submit(name: string, spec: JobSpec, metadata: object = {}): Promise<void> {
    await this.apply({ apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { name, namespace: NAMESPACE, ...metadata }, spec });
  }

  async upload(folder: string, prefix = "pictures"): Promise<string> {
    return (await uploadTo(folder, `s3://graft/${prefix}`, this.minio.access, retries, () => undefined)).source;
  }

  async read(name: string, namespace = NAMESPACE): Promise<GraftJobObject> {
    return JSON.parse(await this.control.kubectl(["get", "gj", name, "-n", namespace, "-o", "json"])) as GraftJobObject;
  }

  /** Every state of a GraftJob that the API server tells of from now on. */
  watch(name: string): { readonly stop: () => GraftJobObject[] } {
    const seen: GraftJobObject[] = [];
    const config = new KubeConfig();
    config.loadFromFile(this.control.kubeconfig);
    const kind = { group: GROUP, version: VERSION, plural: PLURAL, namespace: NAMESPACE };
    const path = `/apis/${GROUP}/${VERSION}/namespaces/${NAMESPACE}/${PLURAL}`;
    const list = async (): Promise<KubernetesListObject<KubernetesObject>> =>
      (await config.makeApiClient(CustomObjectsApi).listNamespacedCustomObject(kind)) as KubernetesListObject<KubernetesObject>;
    const informer = makeInformer(config, path, list);
    const note = (job: KubernetesObject): void => {
      if (job.metadata?.name === name) seen.push(job as unknown as GraftJobObject);
    };
    informer.on("add", note);
    informer.on("update", note);
    let isOver = false;
    informer.on("error", () => {
      if (!isOver) setTimeout(() => void informer.start(), 100); // of a kind that is new the API server asks to come again
    });
    void informer.start();
    return {
      stop: () => {
        isOver = true;
        void informer.stop();
        return seen;
      },
    };
  }

  /** As an operator waits: `kubectl wait --for=…`. */
  async wait(name: string, condition: string, seconds = 120): Promise<void> {
    await this.control.kubectl(["wait", `--for=${condition}`, `gj/${name}`, "-n", NAMESPACE, `--timeout=${String(seconds)}s`]);
  }

  async digest(name: string): Promise<string> {
    await this.wait(name, "condition=Complete");
    return (await this.read(name)).status?.result?.weightsSha256 ?? "";
  }

  async openStore(): Promise<ObjectStore> {
    return openObjectStore("s3://graft/store", this.minio.access, retries);
  }

  async stop(): Promise<void> {
    await Promise.all(this.coordinators.map((coordinator) => coordinator.kill()));
    await this.kubelet.stop();
    this.front.stop();
    await stopServers(this);
    await this.control.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private get store(): object {
    return { location: "s3://graft/store", s3: this.minio.access };
  }

  private workerConfig(role: "extractor" | "trainer"): Readonly<Record<string, unknown>> {
    const worker = { store: this.store, coordinator: { address: `127.0.0.1:${String(this.front.port)}` } };
    return role === "extractor" ? worker : { ...worker, nats: { servers: [`nats://127.0.0.1:${String(this.nats.port)}`] } };
  }
}
