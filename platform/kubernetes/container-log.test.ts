import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../clock/system.js";
import { containerLog, type LogSettings } from "./container-log.js";
import { Kubernetes } from "./kubernetes.js";

/** An API server that answers to requests in this order; the queries of those for logs. */
async function setup(answers: readonly ((response: ServerResponse) => void)[]) {
  const queries: string[] = [];
  let answered = 0;
  const server = createServer((request: IncomingMessage, response) => {
    const [path = "", query] = (request.url ?? "").split("?");
    if (path.endsWith("/log")) queries.push(query ?? "");
    answers[answered++]?.(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const folder = mkdtempSync(join(tmpdir(), "graft-log-"));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, "kubeconfig");
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const clusters = [{ name: "c", cluster: { server: url, "insecure-skip-tls-verify": true } }];
  const contexts = [{ name: "c", context: { cluster: "c", user: "me" } }];
  writeFileSync(file, JSON.stringify({ clusters, contexts, users: [{ name: "me", user: {} }], "current-context": "c" }));
  const kubernetes = Kubernetes.open({ kubeconfig: file, clock: systemClock });
  const clock = { ...systemClock, sleep: () => Promise.resolve() };
  const container = { namespace: "team-a", pod: "p", container: "worker" };
  const read = async (settings: LogSettings): Promise<string[]> => {
    const lines: string[] = [];
    for await (const text of containerLog(kubernetes, container, settings, clock, new AbortController().signal)) lines.push(text);
    return lines;
  };
  return { queries, read };
}

const line = (second: number, text: string): string => `2026-01-01T00:00:0${String(second)}.000000000Z ${text}\n`;
const cut = (text: string) => (response: ServerResponse) => response.write(text, () => response.destroy());
const whole = (text: string) => (response: ServerResponse) => response.end(text);
const pod = (state: object) => (response: ServerResponse) =>
  response
    .setHeader("content-type", "application/json")
    .end(JSON.stringify({ status: { containerStatuses: [{ name: "worker", state }] } }));

test("a log that is cut while its container runs goes on after the last line, and ends with the container", async () => {
  const { read, queries } = await setup([
    cut(line(1, "one") + line(2, "two") + line(2, "two again")),
    (response) => response.writeHead(503).end(), // the API server starts again
    pod({ running: {} }),
    whole(line(1, "one") + line(2, "two") + line(3, "three") + line(2, "late") + line(3, "three again")),
    pod({ terminated: { exitCode: 0 } }),
  ]);
  expect(await read({ follow: true, tail: 5 })).toEqual(["one", "two", "two again", "three", "late", "three again"]);
  expect(queries).toEqual([
    "container=worker&timestamps=true&follow=true&tailLines=5",
    "container=worker&timestamps=true&follow=true&sinceTime=2026-01-01T00%3A00%3A02.000000000Z",
  ]);
});

test("without following it is read once, and why there is none is said", async () => {
  const { read, queries } = await setup([
    whole(`${line(1, "one")}${line(2, "")}2026-01-01T00:00:03.000000000Z no end of line`),
    (response) => response.writeHead(400).end(JSON.stringify({ message: "container is waiting to start" })),
  ]);
  expect(await read({ follow: false })).toEqual(["one", "", "no end of line"]);
  await expect(read({ follow: true, previous: true })).rejects.toMatchObject({
    code: "CLUSTER_REFUSED",
    message: "Kubernetes: read the log of Pod team-a/p: 400 container is waiting to start",
  });
  expect(queries).toEqual(["container=worker&timestamps=true", "container=worker&timestamps=true&follow=true&previous=true"]);
});
