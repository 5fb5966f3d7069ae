import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { inNamespace, jobRequest } from "./job-request.js";

const folder = mkdtempSync(join(tmpdir(), "graft-job-request-"));
afterAll(() => rmSync(folder, { recursive: true }));

function jobFile(metadata: string): string {
  const file = join(folder, "job.yaml");
  writeFileSync(
    file,
    `apiVersion: graft.dev/v1alpha1\nkind: GraftJob\nmetadata: ${metadata}\nspec: { dataset: { source: s3://pictures/flowers/ } }\n`,
  );
  return file;
}

test("on Kubernetes a job's namespace is that of its file, else -n, else what the server is asked with", async () => {
  const named = await jobRequest("submit", jobFile("{ name: flowers, namespace: team-a }"), { context: "c" });
  expect(named.serverFlags).toMatchObject({ namespace: "team-a" });
  expect(inNamespace(named.request, "team-a").metadata).toEqual({ name: "flowers", namespace: "team-a" });
  const flagged = await jobRequest("submit", jobFile("{ name: flowers }"), { namespace: "team-b" });
  expect(flagged.serverFlags).toMatchObject({ namespace: "team-b" });
  expect(inNamespace(flagged.request, "of-context").metadata).toEqual({ name: "flowers", namespace: "of-context" });
  const equal = await jobRequest("plan", jobFile("{ name: flowers, namespace: team-a }"), { namespace: "team-a" });
  expect(equal.serverFlags).toMatchObject({ namespace: "team-a" });
  await expect(jobRequest("submit", jobFile("{ name: flowers, namespace: team-a }"), { namespace: "team-b" })).rejects.toMatchObject({
    code: "USAGE_INVALID",
    message: expect.stringContaining("is for namespace team-a, -n says team-b") as unknown,
  });
});

test("elsewhere a namespace in a file asks nothing of Kubernetes", async () => {
  const { request, serverFlags } = await jobRequest("submit", jobFile("{ namespace: team-a }"), { name: "mine", epochs: "3" });
  expect(serverFlags).not.toHaveProperty("namespace");
  expect(inNamespace(request, undefined)).toEqual({
    metadata: { name: "mine", namespace: "team-a" },
    spec: { dataset: { source: "s3://pictures/flowers/" }, training: { epochs: 3 } },
  });
});

test("an upload to a cluster needs to know where the store is, seen from here", async () => {
  const upload = jobRequest("submit", undefined, { upload: folder, context: "c" });
  await expect(upload).rejects.toThrow(/--to s3:\/\/bucket\/prefix\/; this machine writes to the store itself: set GRAFT_S3_ENDPOINT/);
});
