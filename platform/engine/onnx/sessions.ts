import { createHash } from "node:crypto";
import { type GraphSession, openHere } from "./graph-session.js";
import type { Preparation } from "./preparation.js";
import type { Runtime } from "./runtime.js";
import { openInThread } from "./thread-session.js";

/** A graph and a session that runs it. */
export interface OpenSession<Graph> {
  readonly session: GraphSession;
  /** Of a graph that is divided. */
  readonly preparation?: Preparation;
  readonly graph: Graph;
  readonly release: () => Promise<void>;
}

/** Encoded graphs that are kept: those of a job's gradient and evaluation, for a few counts of rows. */
const graphsKept = 16;

/** What a graph is made from: `madeFrom` is all that the graph that `lower` makes depends on. */
export interface GraphSource<Graph> {
  readonly madeFrom: unknown;
  readonly lower: () => Graph;
}

/** Where a session runs: on the calling thread, or in a thread of its own, beside others. */
export interface Placement {
  /** Of the session. */
  readonly threads: number;
  readonly inOwnThread: boolean;
}

/** The graphs of an engine, encoded once, and, on the calling thread, one session for all who use the same one at the same time. */
export class Sessions {
  readonly #runtime: Runtime;
  /** By the digest of all that a graph is made from; the latest used is last. */
  readonly #graphs = new Map<string, { readonly model: Uint8Array }>();
  readonly #open = new Map<string, { readonly session: Promise<GraphSession>; users: number }>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** The graph, made where it is not known yet. */
  graph<Graph extends { readonly model: Uint8Array }>(source: GraphSource<Graph>): Graph {
    return this.#known(source).graph;
  }

  async open<Graph extends { readonly model: Uint8Array }>(
    source: GraphSource<Graph>,
    { threads, inOwnThread }: Placement,
  ): Promise<OpenSession<Graph>> {
    const { digest, graph } = this.#known(source);
    if (inOwnThread) {
      const session = await openInThread(graph.model, threads);
      return { session, graph, release: () => session.release() };
    }
    const key = `${digest}/${threads}`;
    const shared = this.#open.get(key) ?? { session: openHere(this.#runtime, graph.model, threads), users: 0 };
    this.#open.set(key, shared);
    shared.users++;
    const release = async (): Promise<void> => {
      if (--shared.users > 0) return;
      this.#open.delete(key);
      await (await shared.session).release();
    };
    try {
      return { session: await shared.session, graph, release };
    } catch (error) {
      this.#open.delete(key);
      throw error;
    }
  }

  #known<Graph extends { readonly model: Uint8Array }>({
    madeFrom,
    lower,
  }: GraphSource<Graph>): { readonly digest: string; readonly graph: Graph } {
    const digest = createHash("sha256").update(JSON.stringify(madeFrom)).digest("hex");
    const graph = (this.#graphs.get(digest) as Graph | undefined) ?? lower();
    this.#graphs.delete(digest);
    this.#graphs.set(digest, graph);
    for (const oldest of this.#graphs.keys()) if (this.#graphs.size > graphsKept) this.#graphs.delete(oldest);
    return { digest, graph };
  }
}
