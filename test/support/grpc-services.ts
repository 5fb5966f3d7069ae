import { onTestFinished } from "vitest";
import { everyone } from "../../platform/access/everyone.js";
import { openChannel, type ChannelSettings, type GrpcChannel } from "../../platform/grpc/client.js";
import { serveGrpc, type RunningServer, type ServerSettings } from "../../platform/grpc/server.js";
import { jobServiceHandlers } from "../../platform/job-service/grpc-server.js";
import type { JobService } from "../../platform/job-service/job-service.js";
import { workServiceHandlers } from "../../platform/work-service/grpc-server.js";
import type { WorkService } from "../../platform/work-service/work-service.js";

/** A port with the functions of a test; every other one is a bug. */
export function portWith<Port extends object>(functions: Partial<Port>): Port {
  return new Proxy(functions as Port, {
    get: (target, name) =>
      Reflect.get(target, name) ??
      (() => {
        throw new Error(`${String(name)} was not expected`);
      }),
  });
}

export interface TestServer {
  readonly server: RunningServer;
  readonly address: string;
  /** Failures that nobody expected, as the server's log would have them. */
  readonly unexpected: unknown[];
  readonly open: (settings?: Partial<ChannelSettings>) => GrpcChannel;
}

/** A server on loopback with both services, gone when the test ends. */
export async function serveForTest(
  jobs: Partial<JobService>,
  work: Partial<WorkService> = {},
  settings: Partial<ServerSettings> = {},
): Promise<TestServer> {
  const unexpected: unknown[] = [];
  const server = await serveGrpc({
    address: "127.0.0.1:0",
    access: everyone,
    services: [jobServiceHandlers(() => portWith(jobs)), workServiceHandlers(() => portWith(work))],
    onUnexpected: (error) => unexpected.push(error),
    ...settings,
  });
  onTestFinished(() => server.stop(0));
  const address = `127.0.0.1:${server.port}`;
  return {
    server,
    address,
    unexpected,
    open: (channelSettings = {}) => {
      const channel = openChannel({ address, tls: "plaintext", ...channelSettings });
      onTestFinished(() => channel.close());
      return channel;
    },
  };
}
