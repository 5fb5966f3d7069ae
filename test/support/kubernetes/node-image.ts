import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { makeImage } from "./images.js";

/** The image that `makeNodeImage` makes. */
export const NODE_IMAGE = "localhost/this-node:1";

/** Makes the file `tar`: an image with the Node that runs this, and the system's libraries that it and the native modules of `modules` link; what it is to run comes by a volume. */
export async function makeNodeImage(tar: string, modules: string): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "graft-node-image-"));
  try {
    const node = realpathSync(process.execPath);
    const native = readdirSync(modules, { recursive: true, encoding: "utf8" })
      .filter((file) => file.includes(`${process.platform}-${process.arch}`) || file.includes(join(process.platform, process.arch)))
      .filter((file) => /\.(node|so[.\d]*)$/.test(file))
      .map((file) => join(modules, file));
    const linked = [node, ...native].flatMap(librariesOf).filter((library) => !library.startsWith(modules));
    for (const [from, to] of [[node, "/usr/bin/node"] as const, ...linked.map((library) => [realpathSync(library), library] as const)]) {
      mkdirSync(join(root, dirname(to)), { recursive: true });
      copyFileSync(from, join(root, to));
    }
    mkdirSync(join(root, "etc"), { recursive: true });
    mkdirSync(join(root, "tmp"));
    writeFileSync(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/:/sbin/nologin\n");
    await makeImage(NODE_IMAGE, root, tar, ["/usr/bin/node"]);
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** What the loader would load for a program or library; nothing for one that links nothing. */
function librariesOf(file: string): readonly string[] {
  const { stdout } = spawnSync("ldd", [file], { encoding: "utf8" });
  return [...stdout.matchAll(/(?:=> |^\s+)(\/\S+)/gm)].map(([, library = ""]) => library);
}
