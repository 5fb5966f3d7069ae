/**
 * Who calls the coordinator, and what they may do. Refusals and failures are never a yes: where the answer is not to be had, the call fails.
 */
export interface Access {
  /** Where a caller gets a token that is good here, for messages to those who are refused. */
  readonly advice: string;
  /** Whose token it is; undefined: the call has none. @throws CodedError ACCESS_DENIED where nobody is known by it; CLUSTER_UNAVAILABLE */
  authenticate(token: string | undefined): Promise<Caller>;
  /** Whether the caller may do this to jobs of a namespace ("": of all of them), or to the one of that name. @throws CodedError CLUSTER_UNAVAILABLE */
  mayDo(caller: Caller, verb: Verb, namespace: string, name?: string): Promise<boolean>;
  /** Id of the job that this pod was made for; undefined where it was made for none. @throws CodedError CLUSTER_UNAVAILABLE */
  jobOfPod(pod: Pod): Promise<string | undefined>;
}

/** What is done to jobs, in the words of Kubernetes' RBAC. */
export type Verb = "create" | "get" | "list" | "update" | "delete";

/** Who a service is for: JobService is for clients, WorkService for workers. */
export type Audience = "client" | "worker";

/** Who calls. */
export interface Caller {
  readonly user: string;
  readonly uid: string;
  readonly groups: readonly string[];
  /** What else is known of the user, such as the pod that a token is bound to. */
  readonly extra: Readonly<Record<string, readonly string[]>>;
  /** The namespace of requests that name none; undefined where jobs have no namespaces. */
  readonly namespace: string | undefined;
  /** Whether it may call JobService at all. */
  readonly client: boolean;
  /** As whom it may call WorkService: under any name for any job, or as this pod; undefined: not at all. */
  readonly worker: "anyone" | Pod | undefined;
}

/** A pod that lives, as the API server vouches for it. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}
