import { createHash } from "node:crypto";
import {
  type KubernetesObject,
  type V1OwnerReference,
  V1ResourceAttributes,
  V1SubjectAccessReview,
  V1SubjectAccessReviewSpec,
  V1TokenReview,
  V1TokenReviewSpec,
} from "@kubernetes/client-node";
import { CodedError } from "../../domain/errors.js";
import { printable } from "../../domain/job/figures.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../clock/clock.js";
import { Kubernetes, type KubernetesSettings } from "../kubernetes/kubernetes.js";
import type { Access, Caller, Pod, Verb } from "./access.js";
import { type Answer, Answers } from "./answers.js";
import { readClaims } from "./token.js";

export interface KubernetesAccessSettings {
  /** What tokens must be made for, so that one for another service is not good here, nor one for here elsewhere. */
  readonly audience: string;
  readonly clock: Clock;
}

/**
 * Access with a connection to the API server of its own: whoever sends tokens shares no bound on requests with the coordinator's other work.
 * @throws CodedError CONFIG_INVALID
 */
export function openKubernetesAccess(settings: KubernetesSettings & KubernetesAccessSettings): Access {
  return new KubernetesAccess(Kubernetes.open(settings), settings);
}

const GROUP = "graft.dev";
const VERSION = "v1alpha1";
const JOBS = "graftjobs";
const jobResource = { group: GROUP, version: VERSION, resource: JOBS };
const JOB_UID_LABEL = "graft.dev/job-uid";
/** The names by which TokenReview says what a token is bound to. */
const POD_NAME = "authentication.kubernetes.io/pod-name";
const POD_UID = "authentication.kubernetes.io/pod-uid";

/**
 * Callers are whom the API server says that they are (TokenReview), and may do to jobs what they may do with kubectl (SubjectAccessReview). Workers are the pods of the batch Jobs that a GraftJob owns.
 * Answers are remembered for a while; questions that wait are bounded, and end with CLUSTER_UNAVAILABLE.
 */
export class KubernetesAccess implements Access {
  readonly advice: string;
  private readonly kubernetes: Kubernetes;
  private readonly audience: string;
  private readonly clock: Clock;
  private readonly callers: Answers<Caller | Refusal>;
  private readonly rights: Answers<boolean>;
  private readonly jobsOfPods: Answers<string | undefined>;
  /** GraftJobs by the batch Jobs that they own. */
  private readonly jobsOfBatchJobs: Answers<string | undefined>;
  private pending = 0;

  constructor(kubernetes: Kubernetes, { audience, clock }: KubernetesAccessSettings) {
    this.kubernetes = kubernetes;
    this.audience = audience;
    this.clock = clock;
    this.callers = new Answers(clock, limits.accessAnswers);
    this.rights = new Answers(clock, limits.accessAnswers);
    this.jobsOfPods = new Answers(clock, limits.accessAnswers);
    this.jobsOfBatchJobs = new Answers(clock, limits.accessAnswers);
    this.advice =
      `give one of a service account for audience ${audience}: "kubectl create token SERVICE_ACCOUNT --audience ${audience}" makes one, ` +
      `--token-file or $GRAFT_TOKEN of the command line, coordinator.tokenFile of a worker or metadata \`authorization: Bearer TOKEN\` of a program sends it`;
  }

  async authenticate(token: string | undefined): Promise<Caller> {
    if (token === undefined) throw this.denied("the call has no token");
    // 1. What nobody vouches for, nor needs to: the API server is not asked about every text that somebody sends.
    const claims = readClaims(token);
    if (claims === undefined) throw this.denied("the token is not one of Kubernetes");
    if (!claims.audiences.includes(this.audience))
      throw this.denied(`the token is for audience ${printable(JSON.stringify(claims.audiences).slice(0, 200))}, not for ${this.audience}`);
    // 2. Whose it is.
    const key = createHash("sha256").update(token).digest("base64");
    const found = await this.callers.get(key, () => this.review(token, claims.expiresMs));
    if ("user" in found) return found;
    throw this.denied(`the API server does not accept the token (${found.why})`);
  }

  async mayDo(caller: Caller, verb: Verb, namespace: string, name?: string): Promise<boolean> {
    // Most rights are for all jobs of a namespace: one answer then does for all of them.
    return (
      (await this.isAllowed(caller, verb, namespace, "")) || (name !== undefined && (await this.isAllowed(caller, verb, namespace, name)))
    );
  }

  jobOfPod(pod: Pod): Promise<string | undefined> {
    return this.jobsOfPods.get(`${pod.namespace}/${pod.name}/${pod.uid}`, async () => keepForLife(await this.findJobOfPod(pod)));
  }

  private async review(token: string, expiresMs: number | undefined): Promise<Answer<Caller | Refusal>> {
    const { audience } = this;
    const spec = Object.assign(new V1TokenReviewSpec(), { token, audiences: [audience] });
    const body = Object.assign(new V1TokenReview(), { spec });
    const { status } = await this.ask("create TokenReview", () => this.kubernetes.authentication.createTokenReview({ body }));
    const user = status?.authenticated === true && status.audiences?.includes(audience) === true ? status.user : undefined;
    // An API server that knows no audiences says nothing of them, and means its own.
    if (user?.username === undefined || user.username === "")
      return { value: { why: printable((status?.error ?? "no reason given").slice(0, 300)) }, keepMs: limits.accessRefusedMs };
    const { username, uid = "", groups = [], extra = {} } = user;
    const [, namespace] = /^system:serviceaccount:([^:]+):[^:]+$/.exec(username) ?? [];
    const worker = namespace === undefined ? undefined : boundPod(namespace, extra);
    const leftMs = expiresMs === undefined ? Infinity : expiresMs - this.clock.now();
    return {
      value: { user: username, uid, groups, extra, namespace: namespace ?? "default", client: true, worker },
      keepMs: Math.min(leftMs, worker === undefined ? limits.accessTokenMs : limits.accessPodTokenMs),
    };
  }

  private isAllowed({ user, uid, groups, extra }: Caller, verb: Verb, namespace: string, name: string): Promise<boolean> {
    return this.rights.get(JSON.stringify([user, uid, groups, extra, verb, namespace, name]), async () => {
      const resourceAttributes = Object.assign(new V1ResourceAttributes(), { ...jobResource, verb, namespace, name });
      const who = { user, uid, groups: [...groups], extra: mutable(extra) };
      const spec = Object.assign(new V1SubjectAccessReviewSpec(), { ...who, resourceAttributes });
      const body = Object.assign(new V1SubjectAccessReview(), { spec });
      const { status } = await this.ask("create SubjectAccessReview", () =>
        this.kubernetes.authorization.createSubjectAccessReview({ body }),
      );
      const value = status?.allowed === true && status.denied !== true;
      return { value, keepMs: value ? limits.accessRightMs : limits.accessRefusedMs };
    });
  }

  /** Pod -> batch Job -> GraftJob, each the controller of the one before and all of one namespace, and all three naming the same GraftJob: labels alone could be anybody's. */
  private async findJobOfPod({ namespace, name, uid }: Pod): Promise<string | undefined> {
    const found = await this.find(`get Pod ${namespace}/${name}`, () => this.kubernetes.core.readNamespacedPod({ namespace, name }));
    const owner = controllerOf(found, "batch/v1", "Job");
    if (found?.metadata?.uid !== uid || owner === undefined) return undefined;
    const jobId = await this.jobsOfBatchJobs.get(`${namespace}/${owner.name}/${owner.uid}`, async () =>
      keepForLife(await this.findJobOfBatchJob(namespace, owner)),
    );
    return found.metadata.labels?.[JOB_UID_LABEL] === jobId ? jobId : undefined;
  }

  private async findJobOfBatchJob(namespace: string, { name, uid }: V1OwnerReference): Promise<string | undefined> {
    const { batch, custom } = this.kubernetes;
    const found = await this.find(`get Job ${namespace}/${name}`, () => batch.readNamespacedJob({ namespace, name }));
    const owner = controllerOf(found, `${GROUP}/${VERSION}`, "GraftJob");
    if (found?.metadata?.uid !== uid || owner === undefined || found.metadata.labels?.[JOB_UID_LABEL] !== owner.uid) return undefined;
    // An owner reference may name anything: a GraftJob of another namespace too, which owns nothing here.
    const job = (await this.find(`get GraftJob ${namespace}/${owner.name}`, () =>
      custom.getNamespacedCustomObject({ group: GROUP, version: VERSION, plural: JOBS, namespace, name: owner.name }),
    )) as KubernetesObject | undefined;
    return job?.metadata?.uid === owner.uid ? owner.uid : undefined;
  }

  private async find<T>(what: string, send: () => Promise<T>): Promise<T | undefined> {
    return this.bounded(what, () => this.kubernetes.find(what, send));
  }

  private async ask<T>(what: string, send: () => Promise<T>): Promise<T> {
    return this.bounded(what, () => this.kubernetes.request(what, send));
  }

  /** @throws CodedError CLUSTER_UNAVAILABLE where too many wait already, or the answer does not come */
  private async bounded<T>(what: string, send: () => Promise<T>): Promise<T> {
    if (this.pending >= limits.accessReviewsPending)
      throw new CodedError(
        "CLUSTER_UNAVAILABLE",
        `Kubernetes: ${what}: ${String(this.pending)} others wait for an answer already; ask again`,
      );
    this.pending++;
    const answered = new AbortController();
    const late = this.clock.sleep(limits.accessReviewMs, answered.signal).then(() => {
      throw new CodedError(
        "CLUSTER_UNAVAILABLE",
        `Kubernetes: ${what}: no answer within ${String(limits.accessReviewMs / 1_000)} s; ask again`,
      );
    });
    try {
      return await Promise.race([send(), late]);
    } finally {
      this.pending--;
      answered.abort();
    }
  }

  private denied(why: string): CodedError {
    return new CodedError("ACCESS_DENIED", `${why}; ${this.advice}`);
  }
}

/** Why a token is not accepted. */
interface Refusal {
  readonly why: string;
}

function boundPod(namespace: string, extra: Readonly<Record<string, readonly string[]>>): Pod | undefined {
  const [[name, ...otherNames], [uid, ...otherUids]] = [extra[POD_NAME] ?? [], extra[POD_UID] ?? []];
  if (name === undefined || uid === undefined || otherNames.length > 0 || otherUids.length > 0) return undefined;
  return { namespace, name, uid };
}

/** The one owner that made an object, where it is of this kind. */
function controllerOf(object: KubernetesObject | undefined, apiVersion: string, kind: string): V1OwnerReference | undefined {
  const owners = object?.metadata?.ownerReferences ?? [];
  return owners.find((owner) => owner.controller === true && owner.apiVersion === apiVersion && owner.kind === kind);
}

/** What is made for a job stays so for its life; what is not may only not be there yet. */
function keepForLife(jobId: string | undefined): Answer<string | undefined> {
  return { value: jobId, keepMs: jobId === undefined ? limits.accessRefusedMs : Infinity };
}

function mutable(extra: Caller["extra"]): Record<string, string[]> {
  return Object.fromEntries(Object.entries(extra).map(([name, values]) => [name, [...values]]));
}
