import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { node24 } from "../../../test/support/node24.js";
import { findRuntime } from "./load.js";

/** A graft without any package, to put packages beside. */
const folder = mkdtempSync(join(tmpdir(), "graft-load-"));
afterAll(() => rmSync(folder, { recursive: true }));
for (const part of ["domain", "platform/engine"]) cpSync(join("dist", part), join(folder, "dist", part), { recursive: true });
writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');

const builtHere = resolve(".cache/engine-tensorflow");
const isBuilt = !("missing" in findRuntime());

/** What is printed of opening the engine in another process. */
function opened(node = process.execPath): { readonly outcome: Record<string, unknown>; readonly stderr: string } {
  const program = `
    const { openTensorflowEngine } = await import(${JSON.stringify(join(folder, "dist/platform/engine/tensorflow/tensorflow.js"))});
    const outcome = await openTensorflowEngine().then(({ gradientProfile }) => gradientProfile, ({ code, message }) => ({ code, message }));
    console.log(JSON.stringify(outcome));`;
  const { stdout, stderr } = spawnSync(node, ["--input-type=module", "-e", program], { encoding: "utf8" });
  return { outcome: JSON.parse(stdout) as Record<string, unknown>, stderr };
}

describe("where TensorFlow is looked for", () => {
  test("nowhere: the reason and what to do", () => {
    const { outcome } = opened();
    expect(outcome["code"]).toBe("ENGINE_UNAVAILABLE");
    expect(outcome["message"]).toMatch(
      /^engine tensorflow: @tensorflow\/tfjs-node-gpu and @tensorflow\/tfjs-node are not installed; .*npm run engine:tensorflow/,
    );
  });

  test("installed by npm without its binding: what it says itself", () => {
    installed("@tensorflow/tfjs-node", 'throw new Error("The Node.js native addon module can not be found\\nat path");');
    expect(opened().outcome["message"]).toMatch(
      /^engine tensorflow: @tensorflow\/tfjs-node: The Node.js native addon module can not be found; put it together/,
    );
  });

  test("installed by npm in whole: it is taken, with its versions and its device", () => {
    const backend = "{ binding: { TF_Version: '2.9.1' }, isUsingGpuDevice: true }";
    installed("@tensorflow/tfjs-node-gpu", `module.exports = { version: { "tfjs-node": "4.21.0" }, backend: () => (${backend}) };`);
    const { outcome } = opened();
    expect(outcome).toMatchObject({ engine: "tensorflow", engineVersion: "4.21.0+tensorflow-2.9.1", threads: 0 });
    expect(outcome["device"]).not.toBe("cpu");
    rmSync(join(folder, "node_modules/@tensorflow/tfjs-node-gpu"), { recursive: true });
  });

  test.skipIf(!isBuilt)(
    "put together by npm run engine:tensorflow: it is taken where the installed one does not load, and prints nothing",
    () => {
      mkdirSync(join(folder, ".cache"));
      symlinkSync(builtHere, join(folder, ".cache/engine-tensorflow"));
      const { outcome, stderr } = opened();
      expect(outcome).toMatchObject({ engine: "tensorflow", device: "cpu", threads: 4, batch: 0 });
      expect(stderr).toBe("");
    },
  );

  test.skipIf(!isBuilt)("on Node 24 too", ({ skip }) => {
    const found = node24();
    if ("missing" in found) return skip(found.missing);
    expect(opened(found.node)).toMatchObject({ outcome: { engine: "tensorflow", device: "cpu" }, stderr: "" });
  });
});

/** A package whose main module is this text. */
function installed(name: string, text: string): void {
  const place = join(folder, "node_modules", name);
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "index.js"), text);
}
