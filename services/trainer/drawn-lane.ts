import assert from "node:assert";
import type { LaneOrder, LaneWindow } from "../../domain/training/lanes.js";
import type { OpenedLane } from "../../platform/lane-store/lane-store.js";
import { MissingFeatures } from "./training-set.js";

/** A window whose rows are in memory, or on their way. */
interface HeldWindow {
  readonly window: LaneWindow;
  /** Its chunks one behind the other. */
  readonly bytes: Uint8Array;
  readonly loaded: Promise<void>;
}

/** Draws the rows of one grain from its lane, step after step. Holds two windows: the one that it draws from and the next, which is read meanwhile. */
export class DrawnLane {
  readonly #order: LaneOrder;
  readonly #views: readonly OpenedLane[];
  readonly #rowBytes: number;
  readonly #end: number;
  /** `[rows]` in the lane's order. */
  readonly #labels: Int32Array;
  readonly #spare: Uint8Array[];
  readonly #stop = new AbortController();
  #current: HeldWindow | undefined;
  #next: HeldWindow | undefined;

  /** `views`: the lane in each view; pass p reads view p mod their number. `end`: the position at which training ends, behind which nothing is read ahead. */
  constructor(
    order: LaneOrder,
    views: readonly OpenedLane[],
    { rowBytes, windowRows, end }: { readonly rowBytes: number; readonly windowRows: number; readonly end: number },
    labels: Int32Array,
  ) {
    this.#order = order;
    this.#views = views;
    this.#rowBytes = rowBytes;
    this.#end = end;
    this.#labels = labels;
    const windowBytes = Math.min(windowRows, order.rows) * rowBytes;
    this.#spare = [new Uint8Array(windowBytes), new Uint8Array(windowBytes)];
  }

  /** Copies the rows at `count` positions from `position` on to row `at` and behind. */
  async draw(
    position: number,
    count: number,
    into: { readonly features: Uint8Array; readonly labels: Int32Array; readonly at: number },
  ): Promise<void> {
    const rowBytes = this.#rowBytes;
    for (let drawn = 0; drawn < count; drawn++) {
      const drawnFrom = position + drawn;
      const { window, bytes } = holds(this.#current, drawnFrom) ? this.#current : await this.#advance(drawnFrom);
      const held = window.held[drawnFrom - window.from]!;
      into.features.set(bytes.subarray(held * rowBytes, (held + 1) * rowBytes), (into.at + drawn) * rowBytes);
      into.labels[into.at + drawn] = this.#labels[window.places[drawnFrom - window.from]!]!;
    }
  }

  /** Waits for what is being read, so that nothing reads behind it, and gives the memory of both windows back. */
  async close(): Promise<void> {
    this.#stop.abort(new Error("the lane is closed"));
    await Promise.allSettled([this.#current?.loaded, this.#next?.loaded]);
    this.#current = this.#next = undefined;
    this.#spare.length = 0;
  }

  /** Goes on to the window that holds `position`, and reads the one behind it meanwhile. */
  async #advance(position: number): Promise<HeldWindow> {
    if (this.#current !== undefined) this.#spare.push(this.#current.bytes);
    const next = this.#next;
    this.#current = next ?? this.#load(position);
    this.#next = undefined;
    await this.#current.loaded;
    const { from, to } = this.#current.window;
    assert(position >= from && position < to, `position ${position} does not follow the window before ${from}`);
    if (to < this.#end) this.#next = this.#load(to);
    return this.#current;
  }

  #load(position: number): HeldWindow {
    const window = this.#order.windowAt(position);
    const bytes = this.#spare.pop()!;
    const loaded = this.#read(window, bytes);
    loaded.catch(() => undefined); // thrown where it is waited for
    return { window, bytes, loaded };
  }

  async #read({ chunks, pass }: LaneWindow, bytes: Uint8Array): Promise<void> {
    const lane = this.#views[pass % this.#views.length]!;
    let at = 0;
    for (const chunk of chunks) {
      await readChunk(lane, chunk, bytes.subarray(at * this.#rowBytes), this.#stop.signal);
      const { from, to } = this.#order.chunkRows(chunk);
      at += to - from;
    }
  }
}

function holds(held: HeldWindow | undefined, position: number): held is HeldWindow {
  return held !== undefined && position >= held.window.from && position < held.window.to;
}

/** @throws MissingFeatures where the lane is damaged and the shards do not have its rows any more */
export async function readChunk(lane: OpenedLane, chunk: number, into: Uint8Array, signal: AbortSignal): Promise<void> {
  assert(chunk * lane.chunkRows < lane.rows, `chunk ${chunk} of a lane of ${lane.rows} rows`);
  const outcome = await lane.readChunk(chunk, into, signal);
  if (outcome.kind === "missing") throw new MissingFeatures(outcome.imageIds);
}
