import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { pythonWith } from "../test/support/python.js";
import type { NetworkName } from "./network-jobs.js";
import { root } from "./process.js";

/** One of the frameworks that graft's training is compared with. */
export type Peer = "PyTorch" | "Keras";

const peers: Readonly<
  Record<Peer, { readonly script: string; readonly packages: readonly string[]; readonly lacks: readonly NetworkName[] }>
> = {
  PyTorch: { script: "train_torch.py", packages: ["torch==2.15.0", "numpy"], lacks: [] },
  Keras: { script: "train_keras.py", packages: ["tensorflow==2.21.0", "keras==3.15.1"], lacks: ["resnet18"] },
};

export interface PeerTimes {
  /** With its version. */
  readonly peer: string;
  readonly batch: number;
  /** The median. */
  readonly milliseconds: number;
  readonly minimum: number;
  readonly peakBytes: number;
}

/** Peers in a Python that has them all or, by default, each in an environment of its own that is made at the first use. */
export class TrainingPeers {
  readonly #python: string | undefined;

  constructor(python: string | undefined) {
    this.#python = python;
  }

  /** Undefined where the peer has no such network; a sentence where it cannot run here. */
  async measure(peer: Peer, network: NetworkName, seconds: number): Promise<PeerTimes | { readonly missing: string } | undefined> {
    const { script, packages, lacks } = peers[peer];
    if (lacks.includes(network)) return undefined;
    const found = this.#python === undefined ? pythonWith(packages) : { python: this.#python };
    if ("missing" in found) return found;
    const args = [join(root, "bench/peers", script), network, "--threads", String(THREADS), "--seconds", String(seconds)];
    try {
      const { stdout } = await promisify(execFile)(found.python, args);
      return JSON.parse(stdout) as PeerTimes;
    } catch (error) {
      return { missing: (error as Error).message.trim().split("\n").at(-1) ?? "" };
    }
  }
}

/** Of graft and of its peers. */
export const THREADS = 2;
