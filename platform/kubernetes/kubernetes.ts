import assert from "node:assert";
import { readFile } from "node:fs/promises";
import {
  ApiException,
  AuthenticationV1Api,
  AuthorizationV1Api,
  BatchV1Api,
  CoordinationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  type KubeConfig,
  type KubernetesListObject,
  type KubernetesObject,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
} from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../clock/clock.js";
import { loadKubeconfigs } from "./kubeconfig.js";
import { SharedConnections } from "./shared-connections.js";

export interface KubernetesSettings {
  /** A kubeconfig file, or several as in $KUBECONFIG; absent: the service account of the pod that this process runs in. */
  readonly kubeconfig?: string | readonly string[] | undefined;
  /** A context of that file; absent: its current one. */
  readonly context?: string | undefined;
  /** Requests a second in the long run, and so many at once after a pause; watches do not count. */
  readonly requestsPerSecond?: number | undefined;
  readonly clock: Clock;
  /** Once it aborts, requests under way are given up and no more are sent. */
  readonly signal?: AbortSignal | undefined;
  /** Told of every request that is sent, by what it is for. */
  readonly onRequest?: (what: string) => void;
}

/** What a merge patch is sent with. */
export const mergePatch = setHeaderOptions("Content-Type", PatchStrategy.MergePatch);

/** Where a pod finds the namespace that it runs in. */
const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/** The API server, for the adapters of several ports: its clients, with one bound on requests a second for all of them and with failures as codes. */
export class Kubernetes {
  readonly config: KubeConfig;
  readonly core: CoreV1Api;
  readonly batch: BatchV1Api;
  readonly custom: CustomObjectsApi;
  readonly coordination: CoordinationV1Api;
  readonly authentication: AuthenticationV1Api;
  readonly authorization: AuthorizationV1Api;
  private readonly settings: KubernetesSettings;
  private readonly perSecond: number;
  /** When the request after those that were let through may be sent, on the monotonic clock. */
  private nextMs = -Infinity;

  private constructor(config: KubeConfig, settings: KubernetesSettings) {
    this.config = config;
    this.settings = settings;
    this.perSecond = settings.requestsPerSecond ?? limits.kubernetesRequestsPerSecond;
    this.core = config.makeApiClient(CoreV1Api);
    this.batch = config.makeApiClient(BatchV1Api);
    this.custom = config.makeApiClient(CustomObjectsApi);
    this.coordination = config.makeApiClient(CoordinationV1Api);
    this.authentication = config.makeApiClient(AuthenticationV1Api);
    this.authorization = config.makeApiClient(AuthorizationV1Api);
  }

  /** @throws CodedError CONFIG_INVALID where there is neither a kubeconfig nor a pod's service account */
  static open(settings: KubernetesSettings): Kubernetes {
    const { context } = settings;
    const files = typeof settings.kubeconfig === "string" ? [settings.kubeconfig] : settings.kubeconfig;
    const from = files?.join(", ") ?? "the service account of this pod";
    const config = new SharedConnections();
    try {
      if (files === undefined) config.loadFromCluster();
      else loadKubeconfigs(config, files);
      if (context !== undefined) config.setCurrentContext(context);
    } catch (cause) {
      throw new CodedError("CONFIG_INVALID", `kubernetes: ${from} cannot be used: ${textOf(cause)}`);
    }
    if (config.getCurrentCluster() === null)
      throw new CodedError(
        "CONFIG_INVALID",
        `kubernetes: ${from} names no cluster for context ${JSON.stringify(context ?? config.getCurrentContext())}; "kubectl config get-contexts" lists what there is`,
      );
    settings.signal?.addEventListener("abort", () => config.closeConnections(), { once: true });
    return new Kubernetes(config, settings);
  }

  /** The namespace that requests are about where nobody names one: the context's, the pod's, else `default`. */
  async namespace(): Promise<string> {
    const ofContext = this.config.getContextObject(this.config.getCurrentContext())?.namespace;
    return ofContext ?? (await readFile(NAMESPACE_FILE, "utf8").catch(() => "default")).trim();
  }

  /**
   * Sends one request as soon as it is its turn. `what` names it in messages, such as `create Job team-a/flowers-trainers`.
   * @throws CodedError CLUSTER_UNAVAILABLE, CLUSTER_CONFLICT, CLUSTER_NOT_FOUND, CLUSTER_REFUSED; the signal's reason
   */
  async request<T>(what: string, send: () => Promise<T>): Promise<T> {
    const { clock, onRequest, signal } = this.settings;
    signal?.throwIfAborted();
    const nowMs = clock.monotonic();
    // A pause lets through at once what would have been let through in a second of it.
    this.nextMs = Math.max(this.nextMs, nowMs - 1_000) + 1_000 / this.perSecond;
    if (this.nextMs > nowMs) await clock.sleep(this.nextMs - nowMs, signal).catch(() => signal?.throwIfAborted());
    onRequest?.(what);
    const over = new AbortController();
    const giveUp = (): void => over.abort();
    signal?.addEventListener("abort", giveUp, { once: true });
    // The client has no deadline of its own, and an API server that is cut off says nothing.
    const late = clock.sleep(limits.kubernetesDeadlineMs, over.signal).then(() => {
      throw new CodedError("CLUSTER_UNAVAILABLE", `Kubernetes: ${what}: no answer within ${String(limits.kubernetesDeadlineMs / 1000)} s`);
    });
    late.catch(() => undefined); // once it is over nobody waits for it
    try {
      return await Promise.race([send(), late]);
    } catch (cause) {
      signal?.throwIfAborted();
      throw refusal(what, cause);
    } finally {
      signal?.removeEventListener("abort", giveUp);
      over.abort();
    }
  }

  /** The same; undefined where there is no such thing. */
  async find<T>(what: string, send: () => Promise<T>): Promise<T | undefined> {
    try {
      return await this.request(what, send);
    } catch (error) {
      if (error instanceof CodedError && error.code === "CLUSTER_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /**
   * Follows the objects under an API path until the signal: all that there are, then each change. Resolves once the first list has been handed over; a connection that breaks is made anew.
   * `onLost` hears why it broke.
   */
  async follow<T extends KubernetesObject>(
    { path, labelSelector, list }: Followed<T>,
    { changed, gone, onLost }: Follower<T>,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.settings;
    let listed: () => void = () => undefined;
    const listAll = async (): Promise<KubernetesListObject<T>> => {
      const all = await this.request(`list ${path}`, list);
      setImmediate(() => listed()); // the informer hands the list over before anything else has its turn
      return all;
    };
    const informer = makeInformer<T>(this.config, path, listAll, labelSelector);
    informer.on("add", changed);
    informer.on("update", changed);
    informer.on("delete", gone);
    let waitMs: number = limits.kubernetesWatchRetryMs;
    const restart = async (): Promise<void> => {
      await clock.sleep(waitMs, signal).catch(() => undefined);
      waitMs = Math.min(waitMs * 2, limits.kubernetesWatchRetryMsMax);
      if (!signal.aborted) await informer.start();
    };
    informer.on("error", (error: unknown) => {
      if (signal.aborted) return;
      onLost(refusal(`watch ${path}`, error));
      void restart();
    });
    signal.addEventListener("abort", () => void informer.stop(), { once: true });
    await new Promise<void>((resolve) => {
      listed = () => {
        waitMs = limits.kubernetesWatchRetryMs;
        resolve();
      };
      signal.addEventListener("abort", () => resolve(), { once: true });
      void informer.start();
    });
  }
}

/** What is followed, and how all of it is listed. */
export interface Followed<T extends KubernetesObject> {
  readonly path: string;
  readonly labelSelector?: string;
  readonly list: () => Promise<KubernetesListObject<T>>;
}

export interface Follower<T> {
  readonly changed: (object: T) => void;
  readonly gone: (object: T) => void;
  readonly onLost: (error: unknown) => void;
}

/** A failure of the API server, or of the way to it, as one of graft's codes. */
function refusal(what: string, cause: unknown): CodedError {
  if (cause instanceof CodedError) return cause;
  const status = statusOf(cause);
  const message = `Kubernetes: ${what}: ${textOf(cause)}`;
  if (status === 404) return new CodedError("CLUSTER_NOT_FOUND", message, {}, cause);
  if (status === 409) return new CodedError("CLUSTER_CONFLICT", message, {}, cause);
  if (status === undefined || status === 429 || status >= 500) return new CodedError("CLUSTER_UNAVAILABLE", message, {}, cause);
  return new CodedError("CLUSTER_REFUSED", message, { status }, cause);
}

function statusOf(cause: unknown): number | undefined {
  if (cause instanceof ApiException) return cause.code;
  const { statusCode } = (cause ?? {}) as { readonly statusCode?: unknown };
  return typeof statusCode === "number" ? statusCode : undefined;
}

/** What the API server says about it, in one line. */
function textOf(cause: unknown): string {
  if (cause instanceof ApiException) {
    const { body } = cause as ApiException<unknown>;
    const said = typeof body === "string" ? messageOf(body) : (body as { readonly message?: unknown } | undefined)?.message;
    return `${String(cause.code)} ${typeof said === "string" ? said : "without a reason"}`;
  }
  return cause instanceof Error ? cause.message : String(cause);
}

function messageOf(body: string): unknown {
  try {
    return (JSON.parse(body) as { readonly message?: unknown }).message;
  } catch {
    return body.slice(0, 500);
  }
}

/** An object's name and namespace, which the API server gives to all that it hands out. */
export function keyOf({ metadata }: KubernetesObject): { readonly namespace: string; readonly name: string; readonly uid: string } {
  const { name, uid } = metadata ?? { name: undefined, uid: undefined };
  assert(name !== undefined && uid !== undefined, "an object of the API server has a name and a uid");
  return { namespace: metadata?.namespace ?? "", name, uid };
}
