import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Makes the file `tar`: an image `name` of one layer that holds `folder`, which starts `entrypoint`. `name` is to be localhost/…, with a tag that is not "latest": else the kubelet tries to pull it. */
export async function makeImage(name: string, folder: string, tar: string, entrypoint: readonly string[]): Promise<void> {
  await script("image.sh", [name, folder, tar, ...entrypoint]);
}

/** Why images cannot be built here from their container files, and what to do; undefined where they can. */
export function missingForBuildingImages(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, to make the file systems of images";
  const missing = ["buildah", "debootstrap"].filter((tool) => !["/usr/bin", "/usr/sbin"].some((folder) => existsSync(join(folder, tool))));
  return missing.length === 0 ? undefined : `needs ${missing.join(", ")}: apt-get install --no-install-recommends ${missing.join(" ")}`;
}

/**
 * Puts Debian 12 with Node into buildah's storage under the name that a container file's FROM has, such as docker.io/library/node:24-bookworm-slim, so that it builds where no image
 * registry can be reached. An image of that name that is there already stays.
 */
export async function makeBaseImage(name: string, nodeMajor: number): Promise<void> {
  if (spawnSync("buildah", ["inspect", "--type", "image", name], { stdio: "ignore" }).status === 0) return;
  await script("base-image.sh", [name, String(nodeMajor)]);
}

async function script(name: string, args: readonly string[]): Promise<void> {
  const child = spawn("bash", [join(import.meta.dirname, name), ...args], { stdio: ["ignore", "inherit", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [exitCode] = (await once(child, "close")) as [number | null];
  if (exitCode !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${String(exitCode)}:\n${stderr}`);
}
