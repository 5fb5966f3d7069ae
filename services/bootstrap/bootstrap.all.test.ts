import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import pino from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listBundledBackbones } from "../../platform/backbone-store/bundled.js";
import { connectBucket } from "../../platform/bucket/minio.js";
import { systemClock } from "../../platform/clock/system.js";
import { readConfig } from "../../platform/config/config.js";
import { openDataset } from "../../platform/dataset-source/open-dataset.js";
import { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import { goProgram, withoutProgram } from "../../test/support/go-program.js";
import { missingForControlPlane, startControlPlane, type TestCluster } from "../../test/support/kubernetes/cluster.js";
import { podTemplatesOf, readUnpatched } from "../../test/support/manifests.js";
import { type MinioServer, startMinio } from "../../test/support/minio.js";
import { contentConfig } from "./config.js";
import { demoSecrets } from "./demo-secrets.js";
import { bringContent, makeSecrets, storeIsThere } from "./service.js";

const overlay = "deploy/k8s/overlays/demo";
const missing = [
  missingForControlPlane(),
  ...(["minio", "mc"] as const).map((name) => (goProgram(name) === undefined ? withoutProgram(name) : undefined)),
].filter((each) => each !== undefined);
const log = pino({ level: "silent" });
const newPassword = (): string => `k${randomBytes(19).toString("hex")}`;

/** The steps of the demo's bootstrap Job on a real API server and a real MinIO, as their pods would do them: with the rights of the Job's service account and the environment of its containers. */
describe.skipIf(missing.length > 0)(`the bootstrap of the demo${missing.map((why) => `: ${why}`).join("")}`, () => {
  let cluster: TestCluster;
  let minio: MinioServer;
  let kubernetes: Kubernetes;
  const folder = mkdtempSync(join(tmpdir(), "graft-bootstrap-"));
  const containers = podTemplatesOf(readUnpatched(overlay))
    .filter(({ where }) => where === "Job graft-bootstrap")
    .flatMap(({ template: { spec } }) => [...(spec.initContainers ?? []), ...spec.containers]);

  beforeAll(async () => {
    const started = await startMinio();
    if (started === undefined) throw new Error(withoutProgram("minio"));
    minio = started;
    cluster = await startControlPlane();
    await cluster.kubectl(["apply", "-k", overlay]);
    const { accessKey, secretKey } = minio.access;
    await cluster.kubectl([
      "create",
      "secret",
      "generic",
      "minio",
      "-n",
      "graft",
      `--from-literal=root-user=${accessKey}`,
      `--from-literal=root-password=${secretKey}`,
    ]);
    kubernetes = Kubernetes.open({ kubeconfig: await kubeconfigOf("graft-bootstrap"), clock: systemClock });
  });
  afterAll(async () => {
    await minio?.stop();
    await cluster?.stop();
    rmSync(folder, { recursive: true });
  });

  /** As the pod of a service account has it. */
  async function kubeconfigOf(serviceAccount: string): Promise<string> {
    const token = (await cluster.kubectl(["create", "token", serviceAccount, "-n", "graft"])).trim();
    const config = new KubeConfig();
    config.loadFromFile(cluster.kubeconfig);
    const server = config.getCurrentCluster();
    if (server === null) throw new Error("a kubeconfig has a cluster");
    config.loadFromOptions({
      clusters: [server],
      users: [{ name: "pod", token }],
      contexts: [{ name: "pod", cluster: server.name, user: "pod", namespace: "graft" }],
      currentContext: "pod",
    });
    const file = join(folder, serviceAccount);
    writeFileSync(file, config.exportConfig());
    return file;
  }

  async function secretsStep(): Promise<void> {
    await makeSecrets(kubernetes, await kubernetes.namespace(), demoSecrets(minio.access.endpoint, newPassword), log);
  }

  async function secretOf(name: string, key: string): Promise<string> {
    const secret = JSON.parse(await cluster.kubectl(["get", "secret", name, "-n", "graft", "-o", "json"])) as {
      readonly data: Readonly<Record<string, string>>;
    };
    return Buffer.from(secret.data[key] ?? "", "base64").toString();
  }

  /** What the kubelet would give a container, with the test's MinIO in the place of the demo's. */
  async function environmentOf(name: string): Promise<Record<string, string>> {
    const { env = [] } = containers.find((container) => container.name === name) ?? {};
    const entries = env.map(async ({ name: variable, value = "", valueFrom }): Promise<[string, string]> => [
      variable,
      valueFrom?.secretKeyRef === undefined
        ? value.replace("http://minio:9000", minio.access.endpoint)
        : await secretOf(valueFrom.secretKeyRef.name, valueFrom.secretKeyRef.key),
    ]);
    return Object.fromEntries(await Promise.all(entries));
  }

  /** `waits` is told when it waits. */
  async function usersStep(waits: () => void = () => undefined): Promise<{ readonly status: number | null; readonly output: string }> {
    const program = goProgram("mc") ?? "";
    const script = readFileSync(join(overlay, "minio-users.sh"), "utf8").replace("/tmp/mc", join(folder, "mc"));
    writeFileSync(join(folder, "minio-users.sh"), script);
    for (const policy of ["store-policy.json", "pictures-policy.json"])
      writeFileSync(join(folder, policy), readFileSync(join(overlay, policy)));
    const env = { ...(await environmentOf("users")), PATH: `${dirname(program)}:${process.env["PATH"] ?? ""}`, HOME: folder };
    const child = spawn("sh", [join(folder, "minio-users.sh")], { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        if (output.includes("waiting for MinIO")) waits();
      });
    await once(child, "close");
    return { status: child.exitCode, output };
  }

  async function contentStep(): Promise<void> {
    const file = join(folder, "content.yaml");
    writeFileSync(file, readFileSync(join(overlay, "content.yaml"), "utf8").replace("http://minio:9000", minio.access.endpoint));
    Object.assign(process.env, await environmentOf("content"));
    await bringContent(await readConfig(file, contentConfig), log);
  }

  async function accessOf(secret: string, [user, password]: readonly [string, string]): Promise<MinioServer["access"]> {
    return { ...minio.access, accessKey: await secretOf(secret, user), secretKey: await secretOf(secret, password) };
  }
  const storeKeys = ["store-access-key", "store-secret-key"] as const;
  const picturesKeys = ["accessKey", "secretKey"] as const;

  test("the coordinator's pod waits until users and bucket are made", async () => {
    await secretsStep();
    const store = { location: "s3://graft/store", s3: { region: "us-east-1", ...(await accessOf("graft-coordinator", storeKeys)) } };
    const said: string[] = [];
    let saysCode: (code: string) => void = () => undefined;
    const heard = (code: string): Promise<void> =>
      new Promise((resolve) => (saysCode = (found) => (found === code ? resolve() : undefined)));
    const telling = pino(
      { level: "info" },
      {
        write: (line) => {
          said.push(line);
          saysCode((JSON.parse(line) as { readonly code?: string }).code ?? "there");
        },
      },
    );
    const denied = heard("ACCESS_DENIED");
    const waited = storeIsThere({ store }, telling);
    await denied;
    await usersStep();
    await contentStep();
    await waited;
    expect(said.at(-1)).toContain("bucket can be read");
  });

  test("makes everything that is missing, however often it runs, and each user may do only what it has to", async () => {
    await secretsStep();
    const passwords = await Promise.all(
      [
        ["graft-coordinator", "store-secret-key"],
        ["graft-workers", "store-secret-key"],
        ["graft-workers", "nats-password"],
        ["sample-pictures", "secretKey"],
      ].map(([name = "", key = ""]) => secretOf(name, key)),
    );
    expect(new Set(passwords).size).toBe(4);
    expect(await secretOf("minio", "root-password"), "one that is there is left alone").toBe(minio.access.secretKey);
    expect(await usersStep()).toMatchObject({ status: 0 });
    await contentStep();

    const pictures = await openDataset("s3://pictures/flowers", await accessOf("sample-pictures", picturesKeys), {
      clock: systemClock,
      random: Math.random,
    });
    let count = 0;
    for await (const file of pictures.source.list()) count += file.path.endsWith(".jpg") ? 1 : 0;
    expect(count).toBe(200);
    const names = (
      await connectBucket(await accessOf("graft-workers", storeKeys), "graft").list({ prefix: "store/backbones/names/", byFolder: true })
    ).prefixes;
    expect(names).toEqual((await listBundledBackbones()).map(({ name }) => `store/backbones/names/${name}/`));

    const body = Buffer.from("x");
    for (const secret of ["graft-coordinator", "graft-workers"]) {
      const access = await accessOf(secret, storeKeys);
      expect(await connectBucket(access, "graft").put("tried", body, false)).toBe("stored");
      await connectBucket(access, "graft").delete("tried");
      await expect(connectBucket(access, "pictures").list({ prefix: "" })).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    }
    const reader = await accessOf("sample-pictures", picturesKeys);
    await expect(connectBucket(reader, "pictures").put("tried", body, false)).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    await expect(connectBucket(reader, "pictures").delete("flowers/LICENSE.txt")).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    await expect(connectBucket(reader, "graft").list({ prefix: "" })).rejects.toMatchObject({ code: "ACCESS_DENIED" });

    await secretsStep();
    expect(await secretOf("graft-workers", "nats-password")).toBe(passwords[2]);
    expect(await usersStep()).toMatchObject({ status: 0 });
    await contentStep();
  });

  test("a Secret that was deleted is made anew, and its user gets the new password", async () => {
    await secretsStep();
    await usersStep();
    const old = await accessOf("graft-workers", storeKeys);
    await cluster.kubectl(["delete", "secret", "graft-workers", "-n", "graft"]);
    await secretsStep();
    expect(await usersStep()).toMatchObject({ status: 0 });
    await contentStep();
    await expect(connectBucket(old, "graft").list({ prefix: "" })).rejects.toMatchObject({ code: "ACCESS_DENIED" });
    expect((await connectBucket(await accessOf("graft-workers", storeKeys), "graft").list({ prefix: "" })).objects.length).toBeGreaterThan(
      0,
    );
  });

  test("waits for MinIO, and goes on when it is there", async () => {
    await secretsStep();
    await minio.kill("SIGKILL");
    let users: ReturnType<typeof usersStep> | undefined;
    await new Promise<void>((resolve) => {
      users = usersStep(resolve);
    });
    await minio.restart();
    expect(await users).toMatchObject({ status: 0 });
  });

  test("another service account may make no Secret", async () => {
    const worker = Kubernetes.open({ kubeconfig: await kubeconfigOf("graft-worker"), clock: systemClock });
    await expect(makeSecrets(worker, "graft", demoSecrets("http://minio:9000", newPassword), log)).rejects.toMatchObject({
      code: "CLUSTER_REFUSED",
      message: expect.stringContaining("create Secret graft/minio") as unknown,
    });
  });
});
