import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The servers that integration tests start, and MinIO's client, at the versions that graft is tested with. */
const modules = {
  "nats-server": "github.com/nats-io/nats-server/v2@v2.15.2",
  minio: "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
  mc: "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9",
} as const;

export type GoProgram = keyof typeof modules;

/** Kept from run to run. */
const folder = fileURLToPath(new URL("../../.cache/go/bin", import.meta.url)).replace(/dist\/\.cache/, ".cache");

/** Path of a server: from PATH, from the cache, else built with Go. Undefined where there is none and no Go to build it. */
export function goProgram(name: GoProgram): string | undefined {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((each) => join(each, name));
  const found = [...onPath, join(folder, name)].find((path) => existsSync(path));
  if (found !== undefined) return found;
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync("go", ["install", modules[name]], { env: { ...process.env, GOBIN: folder }, stdio: "inherit" });
  return status === 0 ? join(folder, name) : undefined;
}

/** For the name of a test that is skipped without it. */
export function withoutProgram(name: GoProgram): string {
  return `needs ${name}: put it on PATH, or install Go so that ${modules[name]} can be built`;
}
