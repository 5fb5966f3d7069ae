import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { GraftJobObject } from "../../../formats/kubernetes/objects.js";
import { buildah, buildGraftImages } from "../graft-images.js";
import { type GoProgram, goProgram } from "../go-program.js";
import { startNode, type TestNode } from "./cluster.js";

const OVERLAY = "deploy/k8s/overlays/demo";
const NAMESPACE = "graft";
/** As the manifests name them. */
const images = { minio: "docker.io/minio/minio:RELEASE.2025-09-07T16-13-09Z", nats: "docker.io/library/nats:2.15.2" };
const NODE_IMAGE = "docker.io/library/node:24-bookworm-slim";
const MINIO_USER = "10002";

/** The demo of deploy/k8s on a node of this machine: graft's images built by its container file, MinIO and NATS from their Go-built programs. */
export class Demo {
  readonly node: TestNode;
  private readonly folder: string;

  private constructor(node: TestNode, folder: string) {
    this.node = node;
    this.folder = folder;
  }

  static async start(): Promise<Demo> {
    const folder = mkdtempSync(join(tmpdir(), "graft-demo-"));
    const own = await buildGraftImages(join(folder, "images"));
    const servers = [minioImage(folder), natsImage(folder)];
    const node = await startNode();
    const demo = new Demo(node, folder);
    for (const tar of [...Object.values(own), ...servers]) {
      await node.importImage(tar);
      rmSync(tar);
    }
    // There is no storage class here: the volume that MinIO asks for.
    const path = "/var/lib/graft-minio";
    await node.runInNode(["mkdir", "-p", path]);
    await node.runInNode(["chown", MINIO_USER, path]);
    const volume = {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: "minio" },
      spec: {
        capacity: { storage: "10Gi" },
        accessModes: ["ReadWriteOnce"],
        hostPath: { path },
        claimRef: { namespace: NAMESPACE, name: "data-minio-0" },
      },
    };
    await node.kubectl(["apply", "-f", "-"], JSON.stringify(volume));
    return demo;
  }

  /** As an operator brings it: one command, and one to wait. */
  async install(): Promise<void> {
    await this.node.kubectl(["apply", "-k", OVERLAY]).catch(async (error: unknown) => {
      // A kind that has only just come: kubectl asks to run it again.
      if (!String(error).includes("ensure CRDs are installed first")) throw error;
      await this.node.kubectl(["apply", "-k", OVERLAY]);
    });
    await this.node.kubectl(["wait", "-n", NAMESPACE, "--for=condition=Complete", "job/graft-bootstrap", "--timeout=300s"]);
    await this.node.kubectl(["rollout", "status", "-n", NAMESPACE, "deployment/graft-coordinator", "--timeout=120s"]);
  }

  async apply(object: object): Promise<void> {
    await this.node.kubectl(["apply", "-f", "-"], JSON.stringify(object));
  }

  async read(job: string): Promise<GraftJobObject> {
    return JSON.parse(await this.node.kubectl(["get", "gj", job, "-n", NAMESPACE, "-o", "json"])) as GraftJobObject;
  }

  /** As an operator waits; where it is in vain, with what he would look at. */
  async wait(job: string, condition: string, seconds = 180): Promise<void> {
    const { kubectl } = this.node;
    await kubectl(["wait", `--for=${condition}`, `gj/${job}`, "-n", NAMESPACE, `--timeout=${String(seconds)}s`]).catch(
      async (cause: unknown) => {
        const told = await Promise.all([
          kubectl(["get", "gj,jobs,pods", "-n", NAMESPACE, "-o", "wide"]),
          kubectl(["describe", "gj", job, "-n", NAMESPACE]),
          kubectl(["logs", "-n", NAMESPACE, "-l", "graft.dev/leader=true", "--tail=40"]),
          kubectl(["logs", "-n", NAMESPACE, "-l", `graft.dev/job=${job}`, "--tail=15", "--prefix"]),
        ]);
        throw new Error(`${job} did not come to ${condition}:\n${told.join("\n")}`, { cause });
      },
    );
  }

  async digest(job: string): Promise<string> {
    await this.wait(job, "condition=Complete");
    return (await this.read(job)).status?.result?.weightsSha256 ?? "";
  }

  /** What `kubectl graft COMMAND …` prints, by the administrator's kubeconfig. */
  async graft(...args: readonly string[]): Promise<string> {
    const words = ["bin/kubectl-graft.cjs", ...args, "--kubeconfig", this.node.kubeconfig, "--namespace", NAMESPACE];
    const { stdout } = await promisify(execFile)(process.execPath, words);
    return stdout;
  }

  /** Deletes pods at once, without letting them finish anything. */
  async kill(labels: string): Promise<void> {
    await this.node.kubectl(["delete", "pods", "-n", NAMESPACE, "-l", labels, "--grace-period=0", "--force"]);
  }

  async stop(): Promise<void> {
    await this.node.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** MinIO with mc and a shell, as its official image has them. */
function minioImage(folder: string): string {
  return imageOf(folder, images.minio, ["minio", "mc"], "minio");
}

function natsImage(folder: string): string {
  return imageOf(folder, images.nats, ["nats-server"], "nats-server");
}

/** Go-built programs on graft's base image, as an archive. */
function imageOf(folder: string, name: string, programs: readonly GoProgram[], entrypoint: string): string {
  const context = join(folder, entrypoint);
  mkdirSync(context);
  for (const program of programs) cpSync(goProgram(program)!, join(context, program));
  const lines = [`FROM ${NODE_IMAGE}`, `COPY ${programs.join(" ")} /usr/bin/`, `ENTRYPOINT ["/usr/bin/${entrypoint}"]`];
  writeFileSync(join(context, "Containerfile"), lines.join("\n"));
  buildah("bud", "--pull-never", "-t", name, context);
  const tar = join(folder, `${entrypoint}.tar`);
  buildah("push", name, `docker-archive:${tar}:${name}`);
  buildah("rmi", name);
  return tar;
}
