import { Agent, type AgentOptions } from "node:https";
import { isDeepStrictEqual } from "node:util";
import { KubeConfig, type RequestContext } from "@kubernetes/client-node";

/** Connections to one API server; more requests than that at once wait in line. */
const CONNECTIONS_MAX = 32;

/**
 * A kubeconfig whose requests use connections again. As it is the client opens one for each request: of the CPU of a coordinator with 1,000 jobs a third went into TLS handshakes.
 * Requests whose keys or certificates differ from the last one's, as after a rotation, get new connections.
 */
export class SharedConnections extends KubeConfig {
  #last: { readonly options: AgentOptions; readonly agent: Agent } | undefined;

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await super.applySecurityAuthentication(context);
    const given = context.getAgent();
    if (!(given instanceof Agent) || given.constructor !== Agent) return; // a proxy's, or plain HTTP
    if (!isDeepStrictEqual(given.options, this.#last?.options)) {
      const agent = new Agent({ ...given.options, keepAlive: true, maxSockets: CONNECTIONS_MAX });
      this.#last = { options: given.options, agent };
    }
    context.setAgent(this.#last!.agent);
  }

  /** Ends every connection at once, with what is under way on it: one to an API server that says nothing would keep the process from ending. */
  closeConnections(): void {
    this.#last?.agent.destroy();
  }
}
