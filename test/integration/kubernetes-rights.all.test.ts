import { request } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { missingForControlPlane, startControlPlane, type TestCluster } from "../support/kubernetes/cluster.js";

const missing = missingForControlPlane();
const because = missing === undefined ? "" : `: ${missing}`;

/** One request to the API server. */
interface Attempt {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: object;
}

const groups: Readonly<Record<string, string>> = {
  graftjobs: "/apis/graft.dev/v1alpha1",
  jobs: "/apis/batch/v1",
  leases: "/apis/coordination.k8s.io/v1",
  roles: "/apis/rbac.authorization.k8s.io/v1",
  rolebindings: "/apis/rbac.authorization.k8s.io/v1",
  clusterroles: "/apis/rbac.authorization.k8s.io/v1",
  clusterrolebindings: "/apis/rbac.authorization.k8s.io/v1",
  customresourcedefinitions: "/apis/apiextensions.k8s.io/v1",
  tokenreviews: "/apis/authentication.k8s.io/v1",
  subjectaccessreviews: "/apis/authorization.k8s.io/v1",
};
/** `graftjobs`, or `graftjobs/given/status`, in a namespace or in none. */
function pathOf(what: string, namespace: string): string {
  const group = groups[what.split("/")[0] ?? ""] ?? "/api/v1";
  return namespace === "" ? `${group}/${what}` : `${group}/namespaces/${namespace}/${what}`;
}
/** All of a kind, or one by its name. */
const get = (what: string, namespace = ""): Attempt => ({ method: "GET", path: pathOf(what, namespace) });
const patch = (what: string, namespace: string, body: object): Attempt => ({ method: "PATCH", path: pathOf(what, namespace), body });
const remove = (what: string, namespace: string): Attempt => ({ method: "DELETE", path: pathOf(what, namespace) });
function create(what: string, namespace: string, name: string, rest: object): Attempt {
  return { method: "POST", path: pathOf(what, namespace), body: { metadata: { name }, ...rest } };
}

const label = { metadata: { labels: { tried: "yes" } } };
const status = { status: { phase: "SCANNING" } };
const graftJob = (name: string, namespace: string): Attempt =>
  create("graftjobs", namespace, name, {
    apiVersion: "graft.dev/v1alpha1",
    kind: "GraftJob",
    spec: { dataset: { source: "s3://pictures/a" } },
  });
const podSpec = {
  restartPolicy: "Never",
  securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  containers: [
    { name: "c", image: "localhost/x:1", securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } } },
  ],
};
const pod = (name: string, namespace: string): Attempt => create("pods", namespace, name, { spec: podSpec });
const batchJob = (namespace: string): Attempt => create("jobs", namespace, "tried", { spec: { template: { spec: podSpec } } });
const secret = (name: string, namespace: string): Attempt => create("secrets", namespace, name, { stringData: { a: "b" } });
const event = (namespace: string): Attempt =>
  create("events", namespace, "tried", { involvedObject: { kind: "GraftJob", name: "given", namespace } });
const lease = (name: string): Attempt => create("leases", "graft-system", name, { spec: { holderIdentity: "x" } });
const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" };
const subjects = [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "mallory" }];
const powers = (namespace: string): Attempt =>
  create(namespace === "" ? "clusterrolebindings" : "rolebindings", namespace, "tried", { roleRef, subjects });
const token = (name: string, namespace: string): Attempt => ({
  method: "POST",
  path: pathOf(`serviceaccounts/${name}/token`, namespace),
  body: { spec: { audiences: ["graft"] } },
});

/** Who, what they can do, and what they cannot. Each request is sent. */
const rights: readonly (readonly [who: string, allowed: readonly Attempt[], denied: readonly Attempt[]])[] = [
  [
    "system:serviceaccount:graft-system:graft-coordinator",
    [
      get("graftjobs"),
      graftJob("of-coordinator", "team-a"),
      patch("graftjobs/given", "team-a", { metadata: { finalizers: ["graft.dev/job"] } }),
      patch("graftjobs/given/status", "team-a", status),
      patch("graftjobs/given", "team-a", { metadata: { finalizers: null } }),
      patch("graftjobs/given/status", "elsewhere", status),
      remove("graftjobs/of-coordinator", "team-a"),
      batchJob("team-a"),
      get("jobs", "team-a"),
      patch("jobs/tried", "team-a", { spec: { suspend: true } }),
      remove("jobs/tried", "team-a"),
      get("pods", "team-a"),
      get("podtemplates/graft-extractor", "team-a"),
      get("secrets/pictures", "team-a"),
      event("team-a"),
      event("elsewhere"),
      create("tokenreviews", "", "", { spec: { token: "x" } }),
      create("subjectaccessreviews", "", "", { spec: { user: "x", resourceAttributes: { verb: "get", resource: "pods" } } }),
      lease("graft-coordinator"),
      get("leases/graft-coordinator", "graft-system"),
      {
        ...lease("graft-coordinator"),
        method: "PUT",
        path: pathOf("leases/graft-coordinator", "graft-system"),
        body: { spec: { holderIdentity: "y" } },
      },
      patch("pods/of-coordinator", "graft-system", { metadata: { labels: { "graft.dev/leader": "true" } } }),
    ],
    [
      get("secrets"),
      get("secrets", "team-a"),
      get("secrets?watch=true", "team-a"),
      get("secrets/pictures", "elsewhere"),
      get("secrets/pictures", "graft-system"),
      patch("secrets/pictures", "team-a", label),
      remove("secrets/pictures", "team-a"),
      secret("tried", "team-a"),
      batchJob("elsewhere"),
      batchJob("graft-system"),
      get("jobs", "elsewhere"),
      get("pods", "elsewhere"),
      get("configmaps", "team-a"),
      get("nodes"),
      get("podtemplates", "team-a"),
      patch("podtemplates/graft-extractor", "team-a", label),
      pod("tried", "team-a"),
      remove("pods/of-worker", "team-a"),
      patch("pods/of-worker", "team-a", label),
      remove("leases/graft-coordinator", "graft-system"),
      get("leases/another", "graft-system"),
      token("graft-client", "team-a"),
      powers("team-a"),
      powers("graft-system"),
      powers(""),
      patch("clusterroles/graft-coordinator", "", label),
      remove("customresourcedefinitions/graftjobs.graft.dev", ""),
    ],
  ],
  [
    "system:serviceaccount:team-a:graft-worker",
    [],
    [
      get("graftjobs", "team-a"),
      patch("graftjobs/given/status", "team-a", status),
      get("secrets/graft-workers", "team-a"),
      get("secrets", "team-a"),
      get("pods", "team-a"),
      pod("tried", "team-a"),
      batchJob("team-a"),
      get("podtemplates", "team-a"),
      token("graft-worker", "team-a"),
      powers("team-a"),
    ],
  ],
  [
    "system:serviceaccount:team-a:graft-client",
    [
      get("graftjobs", "team-a"),
      graftJob("of-client", "team-a"),
      patch("graftjobs/of-client", "team-a", { spec: { suspend: true } }),
      patch("graftjobs/of-client/scale", "team-a", { spec: { replicas: 2 } }),
      get("graftjobs/of-client/status", "team-a"),
      remove("graftjobs/of-client", "team-a"),
    ],
    [
      patch("graftjobs/given/status", "team-a", status),
      get("graftjobs"),
      get("graftjobs", "elsewhere"),
      graftJob("tried", "elsewhere"),
      get("secrets/pictures", "team-a"),
      get("secrets", "team-a"),
      get("pods", "team-a"),
      batchJob("team-a"),
      patch("podtemplates/graft-extractor", "team-a", label),
      token("graft-client", "team-a"),
      powers("team-a"),
    ],
  ],
  [
    "viewer",
    [get("graftjobs", "team-a"), get("graftjobs/given/status", "team-a")],
    [
      graftJob("tried", "team-a"),
      remove("graftjobs/given", "team-a"),
      patch("graftjobs/given", "team-a", label),
      patch("graftjobs/given/status", "team-a", status),
      get("graftjobs", "elsewhere"),
      get("secrets/pictures", "team-a"),
    ],
  ],
  [
    "editor",
    [graftJob("of-editor", "team-a"), remove("graftjobs/of-editor", "team-a"), token("graft-client", "team-a")],
    [patch("graftjobs/given/status", "team-a", status), powers("team-a"), graftJob("tried", "elsewhere")],
  ],
  [
    "admin",
    [graftJob("of-admin", "team-a"), remove("graftjobs/of-admin", "team-a")],
    [patch("graftjobs/given/status", "team-a", status), powers("team-a"), powers("")],
  ],
  [
    "forwarder",
    [
      get("services/graft-coordinator", "graft-system"),
      get("pods", "graft-system"),
      get("pods/of-coordinator/portforward", "graft-system"),
      { method: "POST", path: pathOf("pods/of-coordinator/portforward", "graft-system") },
    ],
    [
      get("secrets/pictures", "graft-system"),
      remove("pods/of-coordinator", "graft-system"),
      patch("pods/of-coordinator", "graft-system", label),
      get("services", "graft-system"),
      { method: "POST", path: pathOf("pods/of-coordinator/exec", "graft-system") },
    ],
  ],
  [
    "token-asker",
    [token("graft-client", "team-a")],
    [token("graft-worker", "team-a"), token("graft-coordinator", "graft-system"), get("graftjobs", "team-a")],
  ],
  [
    "system:serviceaccount:graft:graft-bootstrap",
    [secret("of-bootstrap", "graft")],
    [
      get("secrets/of-bootstrap", "graft"),
      get("secrets", "graft"),
      patch("secrets/of-bootstrap", "graft", label),
      remove("secrets/of-bootstrap", "graft"),
      secret("tried", "team-a"),
      get("graftjobs", "graft"),
      pod("tried", "graft"),
      get("configmaps", "graft"),
    ],
  ],
];

describe.skipIf(missing !== undefined)(`rights in the overlays production, namespace and demo${because}`, () => {
  let cluster: TestCluster;

  beforeAll(async () => {
    cluster = await startControlPlane();
    // The last one has what is bound in the whole cluster.
    for (const overlay of ["demo", "production", "namespace"]) await cluster.kubectl(["apply", "-k", `deploy/k8s/overlays/${overlay}`]);
    await cluster.kubectl(["create", "namespace", "elsewhere"]);
    await cluster.kubectl(["wait", "--for=condition=Established", "crd/graftjobs.graft.dev"]);
    const given = [
      ...["team-a", "elsewhere"].map((namespace) => graftJob("given", namespace)),
      ...["team-a", "elsewhere", "graft-system"].map((namespace) => secret("pictures", namespace)),
      pod("of-worker", "team-a"),
      pod("of-coordinator", "graft-system"),
      lease("another"),
    ];
    for (const attempt of given) expect(await outcomeOf(undefined, attempt), JSON.stringify(attempt)).toBe("allowed");
    const bind = (namespace: string, user: string, role: string): Promise<string> =>
      cluster.kubectl(["create", "rolebinding", `of-${user}`, "-n", namespace, `--${role}`, `--user=${user}`]);
    await bind("team-a", "viewer", "clusterrole=view");
    await bind("team-a", "editor", "clusterrole=edit");
    await bind("team-a", "admin", "clusterrole=admin");
    await bind("graft-system", "forwarder", "role=graft-port-forward");
    await bind("team-a", "token-asker", "role=graft-client-token");
    // Roles that others are gathered in are written by a controller.
    for (const user of ["viewer", "editor", "admin"])
      await vi.waitFor(async () => expect(await outcomeOf(user, get("graftjobs", "team-a"))).toBe("allowed"), { timeout: 30_000 });
  });
  afterAll(async () => cluster?.stop());

  /** "allowed", "denied" for lack of a right, or what else was the answer. */
  async function outcomeOf(who: string | undefined, attempt: Attempt): Promise<string> {
    const [code, text] = await send(who, attempt);
    const { path } = attempt;
    // A request without an upgrade for what is a stream is refused only after the right to it was found.
    if (code < 300 || (path.endsWith("/portforward") && code === 400)) return "allowed";
    const isDenied = text.includes(`User \\"${who}\\" cannot`) || text.includes("attempting to grant RBAC permissions not currently held");
    return code === 403 && isDenied ? "denied" : `${code} ${text}`;
  }

  async function send(who: string | undefined, { method, path, body }: Attempt): Promise<[status: number, text: string]> {
    const config = new KubeConfig();
    config.loadFromFile(cluster.kubeconfig);
    const options = {};
    await config.applyToHTTPSOptions(options);
    const headers = {
      "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
      ...(who !== undefined && { "impersonate-user": who }),
    };
    const replaced = method === "PUT" ? (JSON.parse((await send(undefined, { method: "GET", path }))[1]) as object) : {};
    return new Promise((resolve, reject) => {
      const sent = request(`${cluster.server}${path}`, { ...options, method, headers }, (answer) => {
        let received = "";
        answer.setEncoding("utf8").on("data", (part: string) => (received += part));
        answer.on("end", () => resolve([answer.statusCode ?? 0, received])).on("error", reject);
      });
      sent.on("error", reject).end(body === undefined ? undefined : JSON.stringify({ ...replaced, ...body }));
    });
  }

  test.each(rights)("%s: what it needs it can do, and nothing else", async (who, allowed, denied) => {
    for (const attempt of allowed) expect(await outcomeOf(who, attempt), JSON.stringify(attempt)).toBe("allowed");
    for (const attempt of denied) expect(await outcomeOf(who, attempt), JSON.stringify(attempt)).toBe("denied");
  });
});
