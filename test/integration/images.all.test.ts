import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { version } from "../../domain/version.js";
import { buildah, buildGraftImages, imageOf, roles, withoutImages, type Role } from "../support/graft-images.js";
import { graft } from "../support/program.js";

/** A token that npm has on this machine, for a registry that no package comes from. */
const token = "graft-test-token-5f0c1e";

/** A training that is over within seconds. */
const training = ["train", "samples/flowers", "--backbone", "mobilenet_v2_0.35_224", "--steps", "20", "--json"];

/** What every container runtime sets where an image does not. */
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What an image says about how it is run. */
interface Config {
  readonly User: string;
  readonly WorkingDir: string;
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
}

/** What `unshare` started, by the number that it has on this machine. */
function processOne(unshare: ChildProcess): number {
  const pid = String(unshare.pid);
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"));
}

describe.skipIf(withoutImages !== undefined)(`images of all roles${withoutImages === undefined ? "" : `: ${withoutImages}`}`, () => {
  const work = mkdtempSync(join(tmpdir(), "graft-images-"));
  const containers: string[] = [];
  let archives: Record<Role, string>;

  beforeAll(async () => {
    const npmrc = join(work, "npmrc");
    const own = spawnSync("npm", ["config", "get", "userconfig"], { encoding: "utf8" }).stdout.trim();
    writeFileSync(npmrc, `${existsSync(own) ? readFileSync(own, "utf8") : ""}\n//registry.example.com/:_authToken=${token}\n`);
    archives = await buildGraftImages(work, { NPM_CONFIG_USERCONFIG: npmrc });
  });

  afterAll(() => {
    for (const container of containers) buildah("rm", container);
    rmSync(work, { recursive: true, force: true });
  });

  /** The file system of a container of the image, and its config. */
  function open(role: Role): { readonly root: string; readonly config: Config } {
    const container = buildah("from", "--pull-never", imageOf(role));
    containers.push(container);
    const { OCIv1 } = JSON.parse(buildah("inspect", "--type", "image", imageOf(role))) as { OCIv1: { config: Config } };
    return { root: buildah("mount", container), config: OCIv1.config };
  }

  /** Starts what the image has for it with other arguments, or another program of it, as Kubernetes would. */
  function start(
    { root, config }: ReturnType<typeof open>,
    command: readonly string[],
    files: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const folder = mkdtempSync(join(work, "files-"));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const namespaces = ["--mount", "--pid", "--fork"];
    const script = join(import.meta.dirname, "../support/run-image.sh");
    const child = spawn("unshare", [...namespaces, "bash", script, root, folder, path, ...config.Env, ...command], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    onTestFinished(() => {
      if (child.exitCode === null && child.signalCode === null) process.kill(processOne(child), "SIGKILL"); // a test that fails leaves nothing running
    });
    return child;
  }

  async function run(image: ReturnType<typeof open>, command: readonly string[]): Promise<string> {
    const child = start(image, command);
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    const [exitCode] = (await once(child, "close")) as [number | null];
    expect(exitCode, stderr).toBe(0);
    return stdout;
  }

  test.each(roles)("%s: its program starts with a read-only root, as a user without rights, on Node 24", async (role) => {
    const image = open(role);
    expect(image.config).toMatchObject({
      ...{ User: "10001:10001", WorkingDir: "/app", Cmd: ["--config", `/etc/graft/${role}.yaml`] },
      Labels: {
        "org.opencontainers.image.title": `graft-${role}`,
        "org.opencontainers.image.version": version,
      },
    });
    expect(await run(image, [...image.config.Entrypoint, "--help"])).toContain(`usage: graft-${role} --config FILE`);
    const program = `
      const { accessSync, constants, writeFileSync } = require("node:fs");
      const refused = ["/app/x", "/etc/x"].map((path) => { try { writeFileSync(path, "", { flag: "a" }); } catch (error) { return error.code; } });
      writeFileSync(require("node:os").tmpdir() + "/x", "");
      const { pid, version, env } = process;
      console.log(JSON.stringify({ pid, node: version.split(".")[0], ids: [process.getuid(), process.getgid()], refused, threads: Number(env.UV_THREADPOOL_SIZE) > 4, cwd: process.cwd() }));`;
    const found: unknown = JSON.parse(await run(image, ["node", "-e", program]));
    expect(found).toEqual({ pid: 1, node: "v24", ids: [10001, 10001], refused: ["EROFS", "EROFS"], threads: true, cwd: "/app" });
  });

  test.each(roles)(
    "%s: holds the program and what it needs, and no test, no source map and nothing of the machine that built it",
    (role) => {
      const { root } = open(role);
      const files = readdirSync(join(root, "app"), { recursive: true, encoding: "utf8" });
      const folders = ["LICENSE", "bin", "dist", "node_modules", "package.json", ...(role === "coordinator" ? ["samples"] : [])];
      expect(files.filter((file) => !file.includes("/")).sort()).toEqual(folders.sort());
      expect(readdirSync(join(root, "app/dist")).sort()).toEqual(["cli", "domain", "formats", "platform", "proto", "services"]);
      expect(files.filter((file) => /\.map$|\.ts$|^dist\/(.*\.test\.|\.)/.test(file))).toEqual([]);
      expect(existsSync(join(root, "app/node_modules/typescript"))).toBe(false);
      for (const folder of ["run", "tmp", "root", "app", "etc", "home", "var/lib", "usr/local", "usr/etc"]) {
        const { status } = spawnSync("grep", ["-rqF", token, join(root, folder)]);
        expect(status, folder).not.toBe(0);
      }
      expect(buildah("inspect", "--type", "image", imageOf(role))).not.toContain(token);
      expect(existsSync(join(root, "run/secrets"))).toBe(false);
      // 180 MB packages, 2 of graft, 18 of samples; compressed, with Debian and Node, 190 and 208.
      const { stdout } = spawnSync("du", ["-sm", join(root, "app")], { encoding: "utf8" });
      expect(Number.parseInt(stdout)).toBeLessThan(role === "coordinator" ? 240 : 220);
      expect(statSync(archives[role]).size).toBeLessThan(260e6);
    },
  );

  test("a training in the image has the same weights as here", async () => {
    const written = join(work, "here");
    mkdirSync(written);
    const here = await graft([...training, "--store", join(written, "store"), "--out", join(written, "out")]);
    const inImage = await run(open("coordinator"), ["node", "bin/graft.cjs", ...training, "--store", "/tmp/store", "--out", "/tmp/out"]);
    const digest = (stdout: string): string => /"weightsSha256": ?"([0-9a-f]{64})"/.exec(stdout)?.[1] ?? stdout;
    expect(digest(inImage)).toBe(digest(here));
  });

  test("as process 1 the coordinator is ready, and stops with 0 on SIGTERM", async () => {
    const image = open("coordinator");
    const config = JSON.stringify({ listen: "127.0.0.1:0", store: { location: "/tmp/store" }, telemetry: { listen: "127.0.0.1:0" } });
    const unshare = start(image, [...image.config.Entrypoint, "--config", "/tmp/coordinator.yaml"], { "coordinator.yaml": config });
    const messages: string[] = [];
    const ended = once(unshare, "exit") as Promise<[number | null]>;
    for await (const line of createInterface({ input: unshare.stdout as NodeJS.ReadableStream })) {
      const { msg } = JSON.parse(line) as { msg: string };
      messages.push(msg);
      if (msg === "serving") process.kill(processOne(unshare), "SIGTERM");
    }
    expect((await ended)[0], messages.join("\n")).toBe(0);
    expect(messages.slice(-2)).toEqual(["stopping", "stopped"]);
  });
});
