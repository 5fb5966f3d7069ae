// `npm run images`: builds the container images of graft's roles (deploy/images/Containerfile) and puts them where they are wanted. docs/images.md
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildSettings } from "./images/build-settings.mjs";
import { builderNames, findBuilder, ImagesFailure } from "./images/builders.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Whether there are variants of it with the TensorFlow engine. */
const roles = { coordinator: false, extractor: true, trainer: true };

const help = `usage: npm run images -- --load | --push REGISTRY | --archive FOLDER [options]

Builds one image a role with docker, podman or buildah, and prints names, sizes and the kustomize block that points graft's manifests to them.

  --load              leave the images with the builder that made them, as localhost/graft-ROLE:TAG
  --push REGISTRY     push them as REGISTRY/graft-ROLE:TAG
  --archive FOLDER    write FOLDER/graft-ROLE.tar, for "ctr -n k8s.io images import" on nodes that reach no registry

  --tag TAG           default: ${version}, the version of graft
  --only ROLE         ${Object.keys(roles).join(", ")}; may be given several times
  --tensorflow        extractor and trainer with the TensorFlow engine for processors, for jobs that ask for it
  --cuda              extractor and trainer with the TensorFlow engine for NVIDIA GPUs (takes 15 GiB of disk)
  --base IMAGE        build on this image instead of the official one of Node 24: Debian or Ubuntu with node and npm
  --tool NAME         ${builderNames.join(", ")}; default: the first that works

examples:
  npm run images -- --load
  npm run images -- --push registry.example.com/ml --tag 2026-11-27
  npm run images -- --push registry.example.com/ml --cuda
  npm run images -- --archive out/images --only trainer

This machine's settings of npm (registry, proxy, credentials, cafile) and pip go along as secrets of the build, and into no image.
Where buildah cannot start containers (inside a container, without iptables): BUILDAH_ISOLATION=chroot npm run images -- …
`;

/** What is asked for; undefined after the help was printed. */
function parse(args) {
  const text = { type: "string" };
  const flag = { type: "boolean", default: false };
  let values;
  try {
    ({ values } = parseArgs({
      args,
      options: {
        ...{ load: flag, push: text, archive: text, tag: { ...text, default: version }, only: { ...text, multiple: true } },
        ...{ tensorflow: flag, cuda: flag, base: text, tool: text, help: { ...flag, short: "h" } },
      },
    }));
  } catch (error) {
    throw new ImagesFailure(`${error.message}\n\n${help}`);
  }
  if (values.help) return void process.stdout.write(help);
  if (!values.load && values.push === undefined && values.archive === undefined)
    throw new ImagesFailure(`say what to do with the images: --load, --push REGISTRY or --archive FOLDER\n\n${help}`);
  if (values.tensorflow && values.cuda) throw new ImagesFailure("--tensorflow and --cuda: an image has one of them; take one");
  if (!/^\w[\w.-]{0,127}$/.test(values.tag)) throw new ImagesFailure(`--tag ${values.tag}: letters, digits, "_", "." and "-", at most 128`);
  if (values.tag === "latest")
    throw new ImagesFailure(
      "--tag latest: Kubernetes would pull it anew at every start, and nobody could say which one runs; give a version",
    );
  for (const role of values.only ?? [])
    if (!(role in roles)) throw new ImagesFailure(`--only ${role}: there are ${Object.keys(roles).join(", ")}`);
  return values;
}

/** The images to build. `role` is the target in the container file and the name in graft's manifests. */
function imagesOf({ only, tensorflow, cuda, tag }) {
  const variant = tensorflow ? "tensorflow" : cuda ? "cuda" : undefined;
  return Object.entries(roles)
    .filter(([role]) => only === undefined || only.includes(role))
    .map(([role, hasVariants]) => {
      const name = hasVariants && variant !== undefined ? `graft-${role}-${variant}` : `graft-${role}`;
      return { role, name, image: `localhost/${name}:${tag}` };
    });
}

async function main(args) {
  const options = parse(args);
  if (options === undefined) return;
  const builder = findBuilder(options.tool);
  const images = imagesOf(options);
  const settings = buildSettings({ withPip: options.tensorflow || options.cuda });
  const buildArguments = {
    VERSION: version,
    ENGINE: options.tensorflow ? "tensorflow" : options.cuda ? "cuda" : "onnx",
    ...(options.base !== undefined && { NODE_IMAGE: options.base }),
  };
  const flags = [...settings.flags, ...Object.entries(buildArguments).flatMap(([name, value]) => ["--build-arg", `${name}=${value}`])];
  const rows = [];
  try {
    for (const image of images) rows.push(await make(builder, image, flags, options));
  } finally {
    settings.remove();
  }
  console.log(`built with ${builder.name}:\n  ${rows.join("\n  ")}\n\n${kustomizeBlock(images, options)}`);
}

/** Builds one image and brings it where it is wanted. Returns what to say of it. */
async function make(builder, { role, name, image }, flags, { push, archive, tag }) {
  const start = performance.now();
  await builder.build({ image, target: role, flags });
  const said = [image, megabytes(builder.size(image)), `${((performance.now() - start) / 1000).toFixed(0)} s`];
  if (push !== undefined) {
    const to = `${push}/${name}:${tag}`;
    await builder.push(image, to);
    said.push(`pushed to ${to}`);
  }
  if (archive !== undefined) {
    const file = join(resolve(archive), `${name}.tar`);
    mkdirSync(archive, { recursive: true });
    rmSync(file, { force: true }); // builders would add to it, or refuse
    await builder.archive(image, file);
    said.push(`${file}, ${megabytes(statSync(file).size)}`);
  }
  return said.join("  ");
}

/** For the kustomization.yaml of an overlay: graft's manifests name localhost/graft-ROLE, those of components/gpu localhost/graft-ROLE-cuda. */
function kustomizeBlock(images, { push, tag, cuda }) {
  const entries = images.map(({ role, name }) =>
    [
      `  - name: localhost/${cuda ? name : `graft-${role}`}`,
      `    newName: ${push ?? "localhost"}/${name}`,
      `    newTag: ${JSON.stringify(tag)}`,
    ].join("\n"),
  );
  const component = cuda ? "\n# with the component deploy/k8s/components/gpu, which asks for a GPU and for these images" : "";
  return `# kustomization.yaml${component}\nimages:\n${entries.join("\n")}`;
}

function megabytes(bytes) {
  return `${Math.round(bytes / 1e6)} MB`;
}

process.chdir(root);
try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof ImagesFailure)) throw error;
  console.error(`images: ${error.message}`);
  process.exitCode = 1;
}
