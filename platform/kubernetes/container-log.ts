import { request as requestPlain, type IncomingMessage } from "node:http";
import { request as requestTls, type RequestOptions } from "node:https";
import { ApiException } from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../clock/clock.js";
import type { Kubernetes } from "./kubernetes.js";

export interface Container {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

export interface LogSettings {
  /** Goes on with what the container writes, until it ends. */
  readonly follow: boolean;
  /** Only so many lines of what there is. */
  readonly tail?: number | undefined;
  /** Of the container's run before this one. */
  readonly previous?: boolean | undefined;
}

/**
 * What a container wrote, line by line, from the API server, of ended ones too. A connection that is cut is made anew and goes on after the last line, while the container runs.
 * @throws CodedError CLUSTER_REFUSED where it has not started, or there is no previous run
 */
export async function* containerLog(
  kubernetes: Kubernetes,
  container: Container,
  { follow, tail, previous = false }: LogSettings,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<string, void> {
  let seen: string | undefined;
  for (let wasOpen = false; ;) {
    const query = new URLSearchParams({ container: container.container, timestamps: "true" });
    if (follow) query.set("follow", "true");
    if (previous) query.set("previous", "true");
    if (seen !== undefined) query.set("sinceTime", seen);
    else if (tail !== undefined) query.set("tailLines", String(tail));
    try {
      const response = await open(kubernetes, container, query, signal);
      wasOpen = true;
      // The API server counts in whole seconds: some lines come again. Times have one width, so their order is that of the texts.
      let known = seen;
      for await (const line of linesOf(response)) {
        const [time, text] = splitAtBlank(line);
        if (known !== undefined && time <= known) continue;
        known = undefined;
        if (seen === undefined || time > seen) seen = time;
        yield text;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!follow || !wasOpen || (error instanceof CodedError && error.code !== "CLUSTER_UNAVAILABLE")) throw error;
    }
    if (!follow || !(await isRunning(kubernetes, container, clock, signal))) return;
  }
}

function splitAtBlank(line: string): readonly [string, string] {
  const blank = line.indexOf(" ");
  return blank < 0 ? [line, ""] : [line.slice(0, blank), line.slice(blank + 1)];
}

/** Asked a moment later, and for as long as the API server is away. */
async function isRunning(
  kubernetes: Kubernetes,
  { namespace, pod: name, container }: Container,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  while (!signal.aborted) {
    await clock.sleep(limits.kubernetesWatchRetryMs, signal).catch(() => undefined);
    try {
      const pod = await kubernetes.find(`get Pod ${namespace}/${name}`, () => kubernetes.core.readNamespacedPod({ namespace, name }));
      return pod?.status?.containerStatuses?.find((each) => each.name === container)?.state?.running !== undefined;
    } catch (error) {
      if (!(error instanceof CodedError && error.code === "CLUSTER_UNAVAILABLE")) throw error;
    }
  }
  return false;
}

/** The client's own reader of logs tells neither why it was refused nor that it broke. */
async function open(
  kubernetes: Kubernetes,
  { namespace, pod }: Container,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const url = new URL(
    `${kubernetes.config.getCurrentCluster()?.server ?? ""}/api/v1/namespaces/${namespace}/pods/${pod}/log?${String(query)}`,
  );
  return await kubernetes.request(`read the log of Pod ${namespace}/${pod}`, async () => {
    const options: RequestOptions = {};
    await kubernetes.config.applyToHTTPSOptions(options);
    const send = url.protocol === "https:" ? requestTls : requestPlain;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      send(url, { ...options, signal }, resolve)
        .on("error", reject)
        .end();
    });
    const { statusCode = 0 } = response;
    response.socket.setKeepAlive(true, limits.grpcKeepaliveMs);
    if (statusCode === 200) return response;
    let body = "";
    for await (const text of response.setEncoding("utf8")) body += String(text);
    throw new ApiException(statusCode, "log", body, {});
  });
}

async function* linesOf(response: IncomingMessage): AsyncGenerator<string, void> {
  let rest = "";
  for await (const text of response.setEncoding("utf8")) {
    const lines = `${rest}${String(text)}`.split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
