import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { selfSigned } from "../support/certificates.js";
import { missingForNode, startNode, type TestNode } from "../support/kubernetes/cluster.js";
import { installCrd } from "../support/kubernetes/install-crd.js";
import { type KubectlGraft, kubectlGraft, kubeconfigWith } from "../support/kubernetes/kubectl-graft.js";
import { makeNodeImage, NODE_IMAGE } from "../support/kubernetes/node-image.js";

const missing = missingForNode();
const component = { "app.kubernetes.io/name": "graft", "app.kubernetes.io/component": "coordinator" };
const leads = { "graft.dev/leader": "true" };
const repository = resolve(import.meta.dirname, "../..");

describe.skipIf(missing !== undefined)(`kubectl graft and pods (${missing ?? "level 2"})`, () => {
  const folder = mkdtempSync(join(tmpdir(), "graft-kubectl-"));
  let node: TestNode;
  let start: (args: readonly string[], kubeconfig?: string) => KubectlGraft;
  const run = async (args: readonly string[]): Promise<string> => {
    const program = start(args);
    if ((await program.ended) !== 0) throw new Error(`kubectl graft ${args.join(" ")}: ${program.printed().stderr}`);
    return program.printed().stdout;
  };
  /** Until what a program prints has this. */
  const printed = (program: KubectlGraft, text: RegExp): Promise<void> =>
    vi.waitFor(() => expect(`${program.printed().stdout}${program.printed().stderr}`).toMatch(text), { timeout: 60_000, interval: 50 });

  beforeAll(async () => {
    const image = join(folder, "node.tar");
    await makeNodeImage(image, join(repository, "node_modules"));
    node = await startNode([image]);
    start = kubectlGraft(node, folder);
    await installCrd(node);
    for (const namespace of ["team-a", "graft-system"]) await node.kubectl(["create", "namespace", namespace]);
    await node.kubectl(["create", "serviceaccount", "graft-client", "-n", "team-a"]);
    const service = { selector: { ...component, ...leads }, ports: [{ name: "grpc", port: 7070 }] };
    await node.kubectl(
      ["apply", "-n", "graft-system", "-f", "-"],
      JSON.stringify({ apiVersion: "v1", kind: "Service", metadata: { name: "graft-coordinator" }, spec: service }),
    );
  });
  afterAll(async () => {
    await node.stop();
    rmSync(folder, { recursive: true });
  });

  /** A pod that runs a script on this machine's files. */
  async function makePod(
    namespace: string,
    name: string,
    labels: Readonly<Record<string, string>>,
    container: string,
    args: readonly string[],
  ): Promise<void> {
    const folders = [repository, folder].map((path, index) => ({ name: `folder-${String(index)}`, path }));
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, labels },
      spec: {
        restartPolicy: "Never",
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: container,
            image: NODE_IMAGE,
            args,
            volumeMounts: folders.map(({ name: volume, path }) => ({ name: volume, mountPath: path })),
          },
        ],
        volumes: folders.map(({ name: volume, path }) => ({ name: volume, hostPath: { path } })),
      },
    };
    await node.kubectl(["apply", "-n", namespace, "-f", "-"], JSON.stringify(pod));
  }

  test("a coordinator in a pod is reached by a port-forward, and its successor by a watch that was on", async () => {
    mkdirSync(join(folder, "store"));
    const config = join(folder, "coordinator.json");
    const writeConfig = (more: object): void =>
      writeFileSync(
        config,
        JSON.stringify({
          listen: "0.0.0.0:7070",
          telemetry: { listen: "127.0.0.1:0" },
          store: { location: join(folder, "store") },
          ...more,
        }),
      );
    writeConfig({ allowPlaintext: true });
    const coordinator = (name: string): Promise<void> =>
      makePod("graft-system", name, { ...component, ...leads }, "coordinator", [
        join(repository, "dist/services/coordinator/main.js"),
        "--config",
        config,
      ]);
    await coordinator("coordinator-0");
    await node.kubectl(["wait", "-n", "graft-system", "--for=condition=Ready", "pod/coordinator-0", "--timeout=60s"]);

    expect(await node.kubectl(["logs", "-n", "graft-system", "coordinator-0"])).not.toContain("Error");

    // No worker is there: the job stands where it is planned. A coordinator that is about to listen is asked again.
    const file = join(folder, "job.json");
    const dataset = { source: join(repository, "samples/flowers") };
    const metadata = { name: "flowers" };
    writeFileSync(file, JSON.stringify({ apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata, spec: { dataset } }));
    const submitted = await vi.waitFor(() => run(["submit", file, "-n", "team-a"]), { timeout: 60_000 });
    expect(submitted).toMatch(/^submitted flowers \([0-9a-z-]+\); watch it with: kubectl graft watch flowers -n team-a\n$/);
    const watching = start(["watch", "flowers", "-n", "team-a"]);
    await printed(watching, /^Planning: planning\n/);
    expect(await run(["get", "-A", "-n", "team-a"])).toMatch(/^NAMESPACE +NAME +STATE .*\n\S* +flowers +Planning/);
    const planned = start(["plan", file, "-n", "team-a", "--json"]);
    await planned.ended;
    expect(JSON.parse(planned.printed().stdout)).toMatchObject({ pictures: 200, obstacles: expect.any(Array) as unknown });

    // The rights that docs/kubectl-graft.md lists are enough, and one less is named.
    const token = ["team-a", "--verb=create", "--resource=serviceaccounts/token", "--resource-name=graft-client"] as const;
    const look = [
      ["graft-system", "--verb=get", "--resource=services", "--resource-name=graft-coordinator"],
      ["graft-system", "--verb=list", "--resource=pods"],
    ] as const;
    const forward = ["graft-system", "--verb=get,create", "--resource=pods/portforward"] as const;
    const ada = start(["get"], await kubeconfigWith(node, folder, "ada", [token, ...look, forward]));
    expect([await ada.ended, ada.printed().stderr]).toEqual([0, ""]);
    const bob = start(["get"], await kubeconfigWith(node, folder, "bob", [token, ...look]));
    expect(await bob.ended).toBe(6);
    expect(bob.printed().stderr).toMatch(
      /port-forward to pod graft-system\/coordinator-0: .*403; missing is the right to "get" and "create" on "pods\/portforward"/,
    );

    await node.kubectl(["delete", "pod", "coordinator-0", "-n", "graft-system"]);
    const between = start(["get", "-n", "team-a"]);
    expect(await between.ended).toBe(6);
    expect(between.printed().stderr).toMatch(/no coordinator leads in namespace graft-system/);
    await coordinator("coordinator-1");
    await node.kubectl(["wait", "-n", "graft-system", "--for=condition=Ready", "pod/coordinator-1", "--timeout=60s"]);
    await vi.waitFor(() => run(["suspend", "flowers", "-n", "team-a"]), { timeout: 60_000 });
    await printed(watching, /suspended in \w+; kubectl graft resume flowers -n team-a goes on/);
    await run(["cancel", "flowers", "-n", "team-a"]);
    expect(await watching.ended).toBe(130);
    expect(watching.printed().stderr).toMatch(/job flowers was cancelled \[INTERRUPTED\]\n$/);

    // One that speaks TLS, with a certificate for the Service's name.
    await node.kubectl(["delete", "pod", "coordinator-1", "-n", "graft-system"]);
    const { files } = selfSigned(folder, "graft-coordinator.graft-system.svc");
    writeConfig({ tls: files });
    await coordinator("coordinator-2");
    await node.kubectl(["wait", "-n", "graft-system", "--for=condition=Ready", "pod/coordinator-2", "--timeout=60s"]);
    await vi.waitFor(async () => expect(await run(["get", "-n", "team-a", "--ca", files.certificate])).toMatch(/flowers +Cancelled/), {
      timeout: 60_000,
    });
    const plain = start(["get", "-n", "team-a"]);
    expect(await plain.ended).toBe(6);
    expect(plain.printed().stderr).toMatch(
      /port 7070 of pod graft-system\/coordinator-2 closed the connection without an answer; where it speaks TLS, give .* --ca/,
    );
  });

  test("logs of a job's pods: of ended ones, of some roles, some lines, followed to the job's end", async () => {
    const job = { apiVersion: "graft.dev/v1alpha1", kind: "GraftJob", metadata: { name: "roses" } };
    await node.kubectl(["apply", "-n", "team-a", "-f", "-"], JSON.stringify({ ...job, spec: { dataset: { source: "s3://pictures/" } } }));
    const uid = await node.kubectl(["get", "gj", "roses", "-n", "team-a", "-o", "jsonpath={.metadata.uid}"]);
    const pod = (role: string, script: string): Promise<void> =>
      makePod(
        "team-a",
        `roses-${role}s-0`,
        { "graft.dev/job-uid": uid, "graft.dev/job": "roses", "app.kubernetes.io/component": role },
        "worker",
        ["-e", script],
      );
    const ended = (name: string): Promise<string> =>
      node.kubectl(["wait", "-n", "team-a", "--for=jsonpath={.status.phase}=Failed", `pod/${name}`, "--timeout=60s"]);

    const following = start(["logs", "roses", "-n", "team-a", "-f"]);
    await pod("extractor", "for (const line of ['one', 'two', 'three']) console.log(line); process.exit(1)");
    await ended("roses-extractors-0");
    const extractor = "[pod/roses-extractors-0/worker]";
    expect(await run(["logs", "roses", "-n", "team-a"])).toBe(`${extractor} one\n${extractor} two\n${extractor} three\n`);
    expect(await run(["logs", uid, "-n", "team-a", "--tail", "1"])).toBe(`${extractor} three\n`);
    expect(await run(["logs", "roses", "-n", "team-a", "--role", "trainer"])).toBe("");
    expect(await run(["logs", "roses", "-n", "team-a", "--json", "--tail", "1"])).toBe(
      '{"pod":"roses-extractors-0","container":"worker","line":"three"}\n',
    );
    const previous = start(["logs", "roses", "-n", "team-a", "-p"]);
    expect(await previous.ended).toBe(0);
    expect(previous.printed().stderr).toMatch(/pod roses-extractors-0: .*previous terminated container "worker" .* not found/);

    // Of the coordinator's log, of one that does not lead too, only what is about the job.
    const lines = [`{"job":"${uid}","msg":"begun"}`, '{"job":"other"}', `{"job":"${uid}","msg":"ended"}`];
    await makePod("graft-system", "coordinator-x", component, "coordinator", [
      "-e",
      `${JSON.stringify(lines)}.forEach((line) => console.log(line))`,
    ]);
    await node.kubectl(["wait", "-n", "graft-system", "--for=jsonpath={.status.phase}=Succeeded", "pod/coordinator-x", "--timeout=60s"]);
    const ofCoordinator = await run(["logs", "roses", "-n", "team-a", "--role", "coordinator"]);
    expect(ofCoordinator.replaceAll("[pod/coordinator-x/coordinator] ", "")).toBe(`${lines[0] ?? ""}\n${lines[2] ?? ""}\n`);

    await pod("trainer", "console.log('step 1'); setTimeout(() => {}, 600_000)");
    await printed(following, /\[pod\/roses-trainers-0\/worker\] step 1/);
    await node.kubectl([
      "patch",
      "gj",
      "roses",
      "-n",
      "team-a",
      "--subresource=status",
      "--type=merge",
      "-p",
      '{"status":{"phase":"COMPLETE"}}',
    ]);
    await node.kubectl(["delete", "pod", "roses-trainers-0", "-n", "team-a"]);
    expect(await following.ended).toBe(0);
    expect(following.printed().stdout).toBe(
      `${extractor} one\n${extractor} two\n${extractor} three\n[pod/roses-trainers-0/worker] step 1\n`,
    );

    // Its pods' logs are there while they are, without the job too.
    await node.kubectl(["delete", "gj", "roses", "-n", "team-a"]);
    expect(await run(["logs", uid, "-n", "team-a", "--tail", "1"])).toBe(`${extractor} three\n`);
  });
});
