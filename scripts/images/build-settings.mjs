// What a build needs to reach npm and PyPI from this machine: registries, proxies, credentials and certificates, as files that builders mount during a step and keep in no layer.
// On a machine that reaches both as they are there is nothing to pass.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where the container file mounts the certificates. */
const mountedCa = "/run/secrets/ca";

const npmKeys = ["registry", "proxy", "https-proxy", "noproxy", "strict-ssl", "replace-registry-host", "fetch-timeout"];
const pipKeys = ["index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"];

/**
 * The flags that hand this machine's settings to docker, podman or buildah, and what takes the files away afterwards.
 * @param {{ withPip: boolean }} options `withPip` where the TensorFlow engine is built.
 */
export function buildSettings({ withPip }) {
  const npm = npmConfig();
  const ca = [npm.cafile, process.env.NODE_EXTRA_CA_CERTS].find((file) => typeof file === "string" && existsSync(file));
  const files = { npmrc: npmrc(npm, ca), pip: withPip ? pipConfig(ca) : undefined, ca: ca && readFileSync(ca, "utf8") };
  const folder = mkdtempSync(join(tmpdir(), "graft-images-")); // readable for its owner only
  const flags = Object.entries(files).flatMap(([id, text]) => {
    if (!text) return [];
    writeFileSync(join(folder, id), text, { mode: 0o600 });
    return ["--secret", `id=${id},src=${join(folder, id)}`];
  });
  return { flags, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** What npm goes by here, wherever it was set; without what it keeps secret. */
function npmConfig() {
  const { status, stdout, error } = spawnSync("npm", ["config", "list", "--json"], {
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  if (status !== 0)
    throw new Error(`"npm config list --json" failed, which says how this machine reaches npm: ${error?.message ?? stdout}`);
  return JSON.parse(stdout);
}

function npmrc(npm, ca) {
  const isSet = (key) => key.endsWith(":registry") || (npmKeys.includes(key) && npm[key] !== null && String(npm[key]) !== "");
  const plain = Object.keys(npm)
    .filter(isSet)
    .map((key) => `${key}=${npm[key]}`);
  // Credentials ("//HOST/:_authToken=…") stand in npm's files only, and may name variables of this machine's environment.
  const credentials = [npm.globalconfig, npm.userconfig]
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, "utf8").split(/\r?\n/))
    .filter((line) => line.startsWith("//") || line.startsWith("_auth"))
    .map((line) => line.replace(/\$\{(\w+)\}/g, (whole, name) => process.env[name] ?? whole));
  return [...plain, ...(ca ? [`cafile=${mountedCa}`] : []), ...credentials, ""].join("\n");
}

/** What pip goes by here; nothing where there is no pip. */
function pipConfig(ca) {
  const { status, stdout } = spawnSync("python3", ["-m", "pip", "config", "list"], { encoding: "utf8" });
  const lines = status === 0 ? stdout.split("\n") : [];
  const values = lines.flatMap((line) => {
    const [, key = "", value] = /^[\w:]+\.([\w-]+)='(.*)'$/.exec(line) ?? [];
    return pipKeys.includes(key) ? [`${key.replace("default-", "")} = ${value.replaceAll("\\n", "\n  ")}`] : [];
  });
  return ["[global]", ...values, ...(ca ? [`cert = ${mountedCa}`] : []), ""].join("\n");
}
