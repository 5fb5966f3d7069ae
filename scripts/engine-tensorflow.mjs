// `npm run engine:tensorflow [-- --gpu] [-- --into FOLDER]`: puts the TensorFlow engine together on Linux x64. The published binding of @tensorflow/tfjs-node brings a TensorFlow
// of 2022, which knows no current GPU; this compiles the package's own two C++ files against the TensorFlow of PyPI. Versions and checksums are in scripts/engine-tensorflow/.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** What differs between the processor's engine and CUDA's. `data` holds package.json, package-lock.json and requirements.txt. */
const variants = {
  cpu: { name: "cpu", data: join(root, "scripts/engine-tensorflow/cpu"), package: "@tensorflow/tfjs-node", diskGiB: 2 },
  gpu: { name: "gpu", data: join(root, "scripts/engine-tensorflow/gpu"), package: "@tensorflow/tfjs-node-gpu", diskGiB: 11 },
};

const unpacker = join(root, "scripts/engine-tensorflow/unpack.py");
const quietBinding = join(root, "scripts/engine-tensorflow/quiet-binding.cc");

/** What is taken out of the wheels. The libraries find each other by run paths relative to this layout, as in Python's site-packages. */
const wanted = [
  "tensorflow/libtensorflow_cc.so.2",
  "tensorflow/libtensorflow_framework.so.2",
  ...["tensorflow/c/*.h", "tensorflow/core/platform/ctstring*.h", "tsl/platform/ctstring*.h", "xla/tsl/c/*.h"].map(
    (headers) => `tensorflow/include/${headers}`,
  ),
  "nvidia/*/lib/*.so*",
  "nvidia/cuda_nvcc/bin/*",
  "nvidia/cuda_nvcc/nvvm/*",
];

/** The wheels are taken by their names for Python 3.11, whatever Python runs pip: nothing of Python in them is used. */
const wheelTags = [
  ...["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"],
  ...["manylinux_2_27", "manylinux_2_25", "manylinux2014", "manylinux2010"].flatMap((platform) => ["--platform", `${platform}_x86_64`]),
];

/**
 * Why the engine cannot be put together on this machine, and what to do; undefined where it can.
 * @param {"cpu" | "gpu"} variantName
 */
export function missingPrerequisite(variantName, place = placeOf(variantName)) {
  const { diskGiB } = variants[variantName];
  if (process.platform !== "linux" || process.arch !== "x64")
    return `it is for Linux on x64, this is ${process.platform} on ${process.arch}; use the onnx engine, or a Linux x64 container`;
  if (process.report.getReport().header.glibcVersionRuntime === undefined)
    return "TensorFlow's libraries need glibc, and this Node runs on another C library; use a Debian or Ubuntu image, or the onnx engine";
  if (!runs("python3", ["-m", "pip", "--version"]))
    return 'python3 with pip was not found; install both ("apt-get install python3-pip", "dnf install python3-pip") and run this again';
  if (!runs("g++", ["--version"]))
    return 'the compiler g++ was not found; install it ("apt-get install g++", "dnf install gcc-c++") and run this again';
  let folder = place;
  while (!existsSync(folder)) folder = dirname(folder);
  const { bavail, bsize } = statfsSync(folder);
  const freeGiB = (bavail * bsize) / 2 ** 30;
  if (freeGiB < diskGiB)
    return `it takes ${diskGiB} GiB of disk while it is put together, and ${folder} has ${freeGiB.toFixed(1)}; make room and run this again`;
  return undefined;
}

/** Where the engine looks for it (platform/engine/tensorflow/load.ts): under the package, but outside of node_modules, which `npm ci` empties. */
function placeOf(variantName, folder = join(root, ".cache/engine-tensorflow")) {
  return join(folder, variantName);
}

/** Everything that the result depends on. The stamp holds it; where it is another, the engine is put together anew. */
function recipeOf(variant) {
  const text = (name) => readFileSync(join(variant.data, name), "utf8");
  const wheels = [...text("requirements.txt").matchAll(/^(\S+)==(\S+) --hash=(\S+)$/gm)];
  const sha256 = (contents) => createHash("sha256").update(contents).digest("hex");
  return {
    packages: JSON.parse(text("package.json")).dependencies,
    packageLockSha256: sha256(text("package-lock.json")),
    wheels: Object.fromEntries(wheels.map(([, name, version, hash]) => [`${name} ${version}`, hash])),
    scriptsSha256: sha256([fileURLToPath(import.meta.url), unpacker, quietBinding].map((file) => readFileSync(file, "utf8")).join("")),
  };
}

function isThere(place, recipe) {
  const stamp = join(place, "built.json");
  return existsSync(stamp) && JSON.stringify(JSON.parse(readFileSync(stamp, "utf8")).recipe) === JSON.stringify(recipe);
}

/** Builds in a folder of its own, which takes its final name only when the engine has computed something: whatever is interrupted leaves no half engine. */
function build(variant, place, recipe) {
  removeLeftovers(place);
  const building = `${place}.building-${process.pid}`;
  mkdirSync(building, { recursive: true });
  const start = performance.now();
  try {
    step(`packages from npm: ${Object.keys(recipe.packages).join(", ")}`, () => installPackages(variant, building));
    step(`from PyPI: ${Object.keys(recipe.wheels).join(", ")}`, () => fetchLibraries(variant, building));
    step("compiling the binding", () => compileBinding(variant, building));
    const found = step("trying it", () => tryOut(variant, building));
    writeFileSync(join(building, "built.json"), `${JSON.stringify({ recipe, ...found }, null, 2)}\n`);
    rmSync(place, { recursive: true, force: true });
    renameSync(building, place);
    const seconds = ((performance.now() - start) / 1000).toFixed(0);
    console.log(
      `TensorFlow engine (${variant.name}): ready in ${place} after ${seconds} s: TensorFlow ${found.tensorflow}, ${found.device}`,
    );
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

/** What builds left behind that were killed. One that is still running keeps its folder. */
function removeLeftovers(place) {
  const folder = dirname(place);
  const prefix = `${place}.building-`;
  for (const entry of existsSync(folder) ? readdirSync(folder) : []) {
    const path = join(folder, entry);
    if (path.startsWith(prefix) && !isAlive(Number(path.slice(prefix.length)))) rmSync(path, { recursive: true, force: true });
  }
}

function installPackages(variant, building) {
  for (const file of ["package.json", "package-lock.json"]) copyFileSync(join(variant.data, file), join(building, file));
  // No install script runs: that of tfjs-node would download the TensorFlow of 2022.
  run("npm", ["ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"], building);
  // Two thirds of what the packages bring.
  for (const file of readdirSync(join(building, "node_modules"), { recursive: true, encoding: "utf8" }))
    if (file.endsWith(".map")) rmSync(join(building, "node_modules", file));
}

function fetchLibraries(variant, building) {
  const wheels = join(building, "wheels");
  const requirements = join(variant.data, "requirements.txt");
  const download = ["-m", "pip", "download", "--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:"];
  run("python3", [...download, "--require-hashes", ...wheelTags, "--dest", wheels, "--requirement", requirements], building);
  for (const wheel of readdirSync(wheels)) {
    run("python3", [unpacker, join(wheels, wheel), join(building, "python"), ...wanted], building);
    rmSync(join(wheels, wheel));
  }
  rmSync(wheels, { recursive: true });
}

function compileBinding(variant, building) {
  const packageFolder = join("node_modules", variant.package);
  const output = join(packageFolder, "lib/napi-v8");
  mkdirSync(join(building, output), { recursive: true });
  const flags = ["-std=c++17", "-O2", "-shared", "-fPIC", "-DNAPI_VERSION=8", "-I", "node_modules/node-api-headers/include"];
  run(
    "g++",
    [
      ...[...flags, "-I", "python/tensorflow/include"],
      ...["tfjs_backend.cc", "tfjs_binding.cc"].map((source) => join(packageFolder, "binding", source)),
      ...["-L", "python/tensorflow", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"],
      // From node_modules/@tensorflow/PACKAGE/lib/napi-v8 to python/tensorflow, wherever the whole folder lies.
      "-Wl,-rpath,$ORIGIN/../../../../../python/tensorflow",
      ...["-o", join(output, "tfjs_binding_tensorflow.so")],
    ],
    building,
  );
  run("g++", [...flags, quietBinding, "-ldl", "-o", join(output, "tfjs_binding.node")], building);
}

/** Loads the package as graft does and multiplies two matrices. Returns what the stamp says beside the recipe. */
function tryOut(variant, building) {
  const program = `
    const util = require("node:util");
    util.isNullOrUndefined ??= (value) => value === null || value === undefined;
    util.isArray ??= Array.isArray;
    const tf = require(${JSON.stringify(variant.package)});
    const product = tf.matMul(tf.fill([2, 3], 2), tf.fill([3, 2], 3)).dataSync();
    if (product.join() !== "18,18,18,18") throw new Error("2 x 3 summed three times is 18, found " + product.join());
    const { binding, isUsingGpuDevice } = tf.backend();
    const device = isUsingGpuDevice ? "on a GPU" : "on the CPU";
    console.log(JSON.stringify({ tensorflow: binding.TF_Version, tfjsNode: tf.version["tfjs-node"], device }));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["-e", program], {
    cwd: building,
    encoding: "utf8",
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3" },
  });
  if (status !== 0) throw new Failure(`the engine was compiled but does not run here:\n${stderr.trim()}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

/** A failure that its message explains; anything else is a bug and shows its stack. Exit code 3: it cannot be put together on this machine. */
class Failure extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

function step(name, work) {
  console.log(`${name} …`);
  const start = performance.now();
  const result = work();
  console.log(`  ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

function run(command, args, cwd) {
  const { status, error } = spawnSync(command, args, { cwd, stdio: "inherit" });
  if (error) throw new Failure(`${command} could not be started: ${error.message}`);
  if (status !== 0)
    throw new Failure(`${command} ${args.slice(0, 3).join(" ")} … failed; its output stands above. Run this again once that is mended.`);
}

function runs(command, args) {
  return spawnSync(command, args, { stdio: "ignore" }).status === 0;
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function main(args) {
  const into = args.indexOf("--into");
  const unknown = args.filter((argument, i) => argument !== "--gpu" && i !== into && (into < 0 || i !== into + 1));
  if (unknown.length > 0 || (into >= 0 && args[into + 1] === undefined))
    throw new Failure(`usage: npm run engine:tensorflow [-- [--gpu] [--into FOLDER]]; found ${args.join(" ")}`);
  const variant = variants[args.includes("--gpu") ? "gpu" : "cpu"];
  const place = into < 0 ? placeOf(variant.name) : placeOf(variant.name, resolve(args[into + 1]));
  const recipe = recipeOf(variant);
  if (isThere(place, recipe)) {
    console.log(`TensorFlow engine (${variant.name}): already there in ${place}`);
    return;
  }
  const missing = missingPrerequisite(variant.name, place);
  if (missing !== undefined) throw new Failure(missing, 3);
  build(variant, place, recipe);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(`TensorFlow engine: ${error.message}`);
    process.exit(error.exitCode);
  }
}
