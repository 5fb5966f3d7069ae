import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { address, coordinator, maskSecrets, readConfig, store, telemetry } from "./config.js";

const schema = z.strictObject({ listen: address, store, coordinator: coordinator.optional(), user: z.string().optional(), telemetry });
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "graft-config-"));
});
afterAll(async () => rm(folder, { recursive: true }));

async function read(text: string) {
  const file = join(folder, "config.yaml");
  await writeFile(file, text);
  return readConfig(file, schema);
}

test("every problem is reported at once, each with its path", async () => {
  const bad =
    "listen: nowhere\nstore: {location: '', s3: {endpoint: 'ftp://x', accessKey: a}}\nsurplus: 1\ncoordinator: {address: 'h:1', allowPlaintext: maybe}\n";
  await expect(read(bad)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringMatching(
      /6 problems\n {2}listen: must be host:port\n {2}store\.location: .*\n {2}store\.s3\.endpoint: .*\n {2}store\.s3\.secretKey: .*\n {2}coordinator\.allowPlaintext: .*\n {2}\(top\): .*surplus/,
    ) as string,
  });
  await expect(read("listen: [")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("defaults are filled in, secrets come from the environment or a file and are masked in logs", async () => {
  await writeFile(join(folder, "token"), "t0ken\n");
  process.env["GRAFT_TEST_SECRET"] = "from-environment";
  const config = await read(
    `listen: "[::1]:0"\nstore: {location: "s3://b/p", s3: {endpoint: "http://127.0.0.1:9000", accessKey: plain, secretKey: "env:GRAFT_TEST_SECRET"}}\ncoordinator: {address: "h:1", token: "file:${join(folder, "token")}"}\nuser: "env:GRAFT_TEST_SECRET"\n`,
  );
  expect(config.user).toBe("from-environment");
  expect(config.store.s3).toMatchObject({ secretKey: "from-environment", region: "us-east-1" });
  expect(config.coordinator?.token).toBe("t0ken");
  expect(config.telemetry).toEqual({ listen: "127.0.0.1:0", level: "info" });
  expect(JSON.stringify(maskSecrets({ ...config, user: "" }))).not.toMatch(/t0ken|from-environment|plain"/);
  await expect(
    read('listen: "h:1"\nstore: {location: x, s3: {endpoint: "http://h", accessKey: "env:GRAFT_NOT_SET", secretKey: b}}'),
  ).rejects.toThrow(/store\.s3\.accessKey: the environment variable GRAFT_NOT_SET is not set/);
});
