import assert from "node:assert/strict";
import { test } from "vitest";
import type { Tensor } from "./network.js";
import { renameTensors } from "./rename-tensors.js";

function named(...names: readonly string[]): Map<string, Tensor> {
  return new Map(names.map((name, i) => [name, { shape: [1], data: Float32Array.of(i) }]));
}

test("a prefix is stripped, and another put there", () => {
  assert.deepEqual(
    [...renameTensors(named("module.conv1.weight", "module.fc.bias"), { strip: "module." })],
    [...named("conv1.weight", "fc.bias")],
  );
  assert.deepEqual(
    [...renameTensors(named("0.gamma", "1.weight"), { add: "features." }).keys()],
    ["features.0.gamma", "features.1.weight"],
  );
  assert.deepEqual([...renameTensors(named("a_x", "y"), { strip: "a_", add: "b_" }).keys()], ["b_x", "b_y"]);
  const same = named("a");
  assert.equal(renameTensors(same, {}), same);
});

test("a prefix that no name has, and one without which two names are the same, are refused", () => {
  assert.throws(() => renameTensors(named("conv1.weight"), { strip: "modul_" }), {
    code: "USAGE_INVALID",
    message: /"modul_": no tensor's name begins with it; the first names are conv1.weight/,
  });
  assert.throws(() => renameTensors(named("m.a", "a"), { strip: "m." }), { code: "WEIGHTS_INVALID", message: /two tensors are named "a"/ });
});
