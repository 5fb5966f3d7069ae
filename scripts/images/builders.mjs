// docker, podman and buildah: which of them is there, and how each builds, pushes and writes an archive.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

/** A failure that its message explains; anything else is a bug and shows its stack. */
export class ImagesFailure extends Error {}

/** In the order in which they are looked for. `works` also finds that docker's server can be reached, not only that its program is there. */
const builders = {
  docker: {
    works: ["info", "--format", "{{.ServerVersion}}"],
    build: ["build", "--load"],
    push: (name, to) => [
      ["tag", name, to],
      ["push", to],
    ],
    archive: (name, file) => [["save", "--output", file, name]],
    size: (name) => Number(output("docker", ["image", "inspect", "--format", "{{.Size}}", name])),
  },
  podman: {
    works: ["info", "--format", "{{.Version.Version}}"],
    build: ["build", "--layers", "--pull=missing", "--format=oci"],
    push: (name, to) => [["push", name, `docker://${to}`]],
    archive: (name, file) => [["save", "--format=oci-archive", "--output", file, name]],
    size: (name) => Number(output("podman", ["image", "inspect", "--format", "{{.Size}}", name])),
  },
  buildah: {
    works: ["images", "--quiet"],
    build: ["build", "--layers", "--pull=false", "--format=oci"], // false: only what is not here
    push: (name, to) => [["push", name, `docker://${to}`]],
    archive: (name, file) => [["push", "--quiet", name, `oci-archive:${file}:${name}`]],
    size: (name) => bytesOf(JSON.parse(output("buildah", ["images", "--json", name]))[0].size),
  },
};

export const builderNames = Object.keys(builders);

/**
 * The builder of that name, else the first that works here.
 * @param {string | undefined} wanted
 */
export function findBuilder(wanted) {
  if (wanted !== undefined && !builderNames.includes(wanted))
    throw new ImagesFailure(`--tool ${wanted}: there are ${builderNames.join(", ")}`);
  const tried = wanted === undefined ? builderNames : [wanted];
  const reasons = [];
  for (const name of tried) {
    const { status, error, stderr } = spawnSync(name, builders[name].works, { encoding: "utf8" });
    if (status === 0) return builder(name);
    reasons.push(`${name}: ${error?.code === "ENOENT" ? "not on PATH" : (error?.message ?? lastLine(stderr))}`);
  }
  const what = reasons.length === 1 ? reasons[0] : `none of these works here:\n  ${reasons.join("\n  ")}`;
  throw new ImagesFailure(
    `${what}\nInstall one (Debian: "apt-get install buildah", which needs no server) or start docker's server, and run this again.`,
  );
}

function builder(name) {
  const { build, push, archive, size } = builders[name];
  const runAll = async (commands) => {
    for (const args of commands) await run(name, args);
  };
  return {
    name,
    /** @param {{ image: string, target: string, flags: string[] }} options */
    build: ({ image, target, flags }) =>
      run(name, [...build, ...flags, "--target", target, "--tag", image, "--file", "deploy/images/Containerfile", "."]),
    push: (image, to) => runAll(push(image, to)),
    archive: (image, file) => runAll(archive(image, file)),
    /** Bytes of all layers, unpacked. */
    size,
  };
}

/** What the program says goes to stderr: stdout holds what this command prints. A signal goes on to the program, so that what it has under way is taken down, and then this command ends too. */
async function run(name, args) {
  const child = spawn(name, args, { stdio: ["ignore", 2, 2] });
  const forward = (signal) => child.kill(signal);
  process.on("SIGINT", forward).on("SIGTERM", forward);
  const [status] = await once(child, "close");
  process.off("SIGINT", forward).off("SIGTERM", forward);
  if (status === 0) return;
  const advice =
    name === "buildah" && args[0] === "build" && process.env.BUILDAH_ISOLATION === undefined
      ? ". Where it cannot start containers (inside a container, without iptables): BUILDAH_ISOLATION=chroot"
      : "";
  throw new ImagesFailure(`${name} ${args[0]} failed; what it says stands above${advice}`);
}

function output(name, args) {
  const { status, stdout, stderr } = spawnSync(name, args, { encoding: "utf8" });
  if (status !== 0) throw new ImagesFailure(`${name} ${args.join(" ")} failed: ${lastLine(stderr)}`);
  return stdout.trim();
}

/** "508 MB", as buildah has it, in thousands. */
function bytesOf(text) {
  const [number, unit] = text.split(" ");
  return Number(number) * 1000 ** ["B", "KB", "MB", "GB"].indexOf(unit.toUpperCase());
}

function lastLine(text) {
  return text.trim().split("\n").at(-1) ?? "";
}
