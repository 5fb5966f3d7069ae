import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { version } from "../../domain/version.js";
import { makeBaseImage, missingForBuildingImages } from "./kubernetes/images.js";

export const roles = ["coordinator", "extractor", "trainer"] as const;
export type Role = (typeof roles)[number];

/** Why graft's images cannot be built here; undefined where they can. */
export const withoutImages = missingForBuildingImages();

/** The name that graft's manifests have for it. */
export function imageOf(role: Role): string {
  return `localhost/graft-${role}:${version}`;
}

/** buildah runs the steps of a build in a chroot, which works inside a container as well. Where it stores images it chooses itself: overlay file systems where they can be mounted. */
const environment = { ...process.env, BUILDAH_ISOLATION: "chroot" };

/**
 * Builds the images of all roles with `npm run images`, on a base image that is made where there is none, and writes them into `folder`.
 * Returns the archives, for `startNode` or `ctr images import`. The images stay in buildah's storage, and with them what the next build need not do again.
 */
export async function buildGraftImages(folder: string, env: NodeJS.ProcessEnv = {}): Promise<Record<Role, string>> {
  const [, base = "", major = ""] = /^ARG NODE_IMAGE=(\S+:(\d+)\S*)$/m.exec(readFileSync("deploy/images/Containerfile", "utf8")) ?? [];
  await makeBaseImage(base, Number(major));
  const args = ["scripts/images.mjs", "--tool", "buildah", "--archive", folder];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...environment, ...env } });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [exitCode] = (await once(child, "close")) as [number | null];
  if (exitCode !== 0) throw new Error(`npm run images ended with ${String(exitCode)}:\n${stderr.slice(-8000)}`);
  return Object.fromEntries(roles.map((role) => [role, join(folder, `graft-${role}.tar`)])) as Record<Role, string>;
}

/** What buildah prints; throws with its messages where it fails. */
export function buildah(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("buildah", args, { encoding: "utf8", env: environment });
  if (status !== 0) throw new Error(`buildah ${args.join(" ")} ended with ${String(status)}:\n${stderr}`);
  return stdout.trim();
}
