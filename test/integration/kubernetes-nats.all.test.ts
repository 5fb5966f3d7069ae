import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { freePort } from "../../cli/free-port.js";
import { type NatsGradientBus, natsGradientBus, type NatsOptions } from "../../platform/gradient-bus/nats.js";
import { goProgram, withoutProgram } from "../support/go-program.js";

const program = goProgram("nats-server");
const because = program === undefined ? `: ${withoutProgram("nats-server")}` : "";
const folder = mkdtempSync(join(tmpdir(), "graft-nats-config-"));
const secrets = { GRAFT_NATS_USER: "graft-trainer", GRAFT_NATS_PASSWORD: "k5e3" };
const credentials = { user: secrets.GRAFT_NATS_USER, password: secrets.GRAFT_NATS_PASSWORD };
const servers: ChildProcess[] = [];
const buses: NatsGradientBus[] = [];

afterAll(async () => {
  await Promise.all(buses.map((bus) => bus.close()));
  await Promise.all(
    servers.map(async (server) => {
      if (server.exitCode !== null) return;
      server.kill("SIGKILL");
      await once(server, "exit");
    }),
  );
  rmSync(folder, { recursive: true });
});

/** Starts a server on a config of the manifests, as its container would be, with other ports and folders; resolves when it is healthy. */
async function start(name: string, config: string, monitorPort: number): Promise<void> {
  const file = join(folder, `${name}.conf`);
  writeFileSync(file, config);
  const server = spawn(program ?? "", ["--config", file], { env: { ...secrets, POD_NAME: name }, stdio: ["ignore", "ignore", "pipe"] });
  servers.push(server);
  let said = "";
  server.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const isHealthy = async (): Promise<void> => {
    if (server.exitCode !== null) throw new Error(`nats-server ended: ${said}`);
    expect((await fetch(`http://127.0.0.1:${monitorPort}/healthz`)).status).toBe(200);
  };
  await vi.waitFor(isHealthy, { timeout: 20_000, interval: 100 });
}

async function connect(
  options: Pick<NatsOptions, "servers"> & Partial<NatsOptions>,
  onError: (error: unknown) => void,
): Promise<NatsGradientBus> {
  const bus = await natsGradientBus({ name: "test", credentials, onError, ...options });
  buses.push(bus);
  return bus;
}

/** What one bus hears of what another says on the subjects of the exchange, and how another subject is refused. */
async function tryExchange(a: NatsGradientBus, b: NatsGradientBus, errors: readonly unknown[]): Promise<void> {
  const heard: string[] = [];
  b.subscribe("graft.exchange.job.1.b", (payload) => heard.push(Buffer.from(payload).toString()));
  await vi.waitFor(
    () => {
      a.publish("graft.exchange.job.1.b", Buffer.from("sums"));
      expect(heard).toContain("sums");
    },
    { timeout: 20_000, interval: 100 },
  );
  a.publish("other", Buffer.from("x"));
  await vi.waitFor(() => expect(errors).toContainEqual(expect.objectContaining({ code: "ACCESS_DENIED", details: { subject: "other" } })));
}

describe.skipIf(program === undefined)(`NATS as the manifests configure it${because}`, () => {
  test("demo: trainers have the subjects of the exchange, and nobody gets in without the password", async () => {
    const [port, monitorPort] = [await freePort(), await freePort()];
    const config = readFileSync("deploy/k8s/overlays/demo/nats.conf", "utf8")
      .replace("0.0.0.0:4222", `127.0.0.1:${port}`)
      .replace("0.0.0.0:8222", `127.0.0.1:${monitorPort}`);
    await start("nats", config, monitorPort);
    const errors: unknown[] = [];
    const to = { servers: [`nats://127.0.0.1:${port}`] };
    await tryExchange(await connect(to, (error) => errors.push(error)), await connect(to, () => undefined), errors);
    const wrong = { ...to, credentials: { ...credentials, password: "another" } };
    await expect(connect(wrong, () => undefined)).rejects.toMatchObject({ code: "ACCESS_DENIED" });
  });

  describe("production: three servers with TLS", () => {
    const clientPorts: number[] = [];
    let ca = "";

    beforeAll(async () => {
      ca = makeCertificates();
      const routePorts = [await freePort(), await freePort(), await freePort()];
      const written = readFileSync("deploy/k8s/components/nats-cluster/nats.conf", "utf8").replaceAll("/etc/nats-tls", folder);
      const names = routePorts.map((_, index) => `graft-nats-${index}`);
      const withRoutes = names.reduce(
        (text, name, index) => text.replace(`${name}.graft-nats-routes.graft-system.svc:6222`, `127.0.0.1:${routePorts[index]}`),
        written,
      );
      for (const [index, name] of names.entries()) {
        const [port, monitorPort] = [await freePort(), await freePort()];
        clientPorts.push(port);
        const config = withRoutes
          .replace("0.0.0.0:4222", `127.0.0.1:${port}`)
          .replace("0.0.0.0:8222", `127.0.0.1:${monitorPort}`)
          .replace("0.0.0.0:6222", `127.0.0.1:${routePorts[index]}`);
        await start(name, config, monitorPort);
      }
    });

    /** An authority and one certificate for servers and clients, as tls.crt, tls.key and ca.crt. */
    function makeCertificates(): string {
      const openssl = (...args: string[]): unknown => execFileSync("openssl", args, { cwd: folder, stdio: "pipe" });
      const subject = ["-subj", "/CN=graft-nats", "-newkey", "rsa:2048", "-nodes"];
      openssl(
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=authority",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
      );
      openssl("req", ...subject, "-keyout", "tls.key", "-out", "tls.csr");
      writeFileSync(join(folder, "extensions"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n");
      openssl(
        "x509",
        "-req",
        "-in",
        "tls.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-days",
        "2",
        "-extfile",
        "extensions",
        "-out",
        "tls.crt",
      );
      return readFileSync(join(folder, "ca.crt"), "utf8");
    }

    test("trainers on different servers hear each other, on the subjects of the exchange only", async () => {
      const errors: unknown[] = [];
      const [a, b] = clientPorts.map((port) => `tls://localhost:${port}`);
      const first = await connect({ servers: [a ?? ""], tls: { ca } }, (error) => errors.push(error));
      await tryExchange(first, await connect({ servers: [b ?? ""], tls: { ca } }, () => undefined), errors);
    });

    test("nobody gets in without the password, and a trainer trusts no server that the authority has not signed for", async () => {
      const to = { servers: [`tls://localhost:${clientPorts[0]}`], tls: { ca } };
      const wrong = { ...to, credentials: { ...credentials, password: "another" } };
      await expect(connect(wrong, () => undefined)).rejects.toMatchObject({ code: "ACCESS_DENIED" });
      await expect(connect({ servers: to.servers, tls: {} }, () => undefined)).rejects.toMatchObject({ code: "BUS_UNAVAILABLE" });
    });
  });
});
