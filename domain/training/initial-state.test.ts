import { describe, expect, test } from "vitest";
import { featureCut } from "../../test/support/feature-cut.js";
import { CodedError } from "../errors.js";
import type { CutBackbone } from "../job/cut-backbone.js";
import { resolveJob } from "../job/resolve.js";
import type { JobSpec } from "../job/spec.js";
import type { Backbone } from "../network/backbone.js";
import { INPUT, type Network, type Tensor } from "../network/network.js";
import { type GivenWeights, initializeState } from "./initial-state.js";
import { tensorsOf } from "./parameters.js";
import { trainingShape } from "./training-plan.js";

/** A backbone that ends in batch norm and pooling, and has a classifier of three classes above. */
const network: Network = {
  name: "small",
  inputShape: [4, 4, 2],
  layers: [
    { kind: "batchNorm", name: "norm", epsilon: 1e-3, scale: true, center: true, inputs: [INPUT] },
    { kind: "globalAveragePool", name: "pool", inputs: ["norm"] },
    { kind: "dense", name: "top", units: 3, bias: true, inputs: ["pool"] },
  ],
  output: "top",
};
const preprocessing = { size: 4, resize: "STRETCH", resizeTo: 4, channels: "RGB", mean: [0, 0, 0], deviation: [1, 1, 1] } as const;
const tensor = (...values: number[]): Tensor => ({ shape: [values.length], data: Float32Array.from(values) });
const backbone: Backbone = {
  name: "small",
  network,
  preprocessing,
  origin: "",
  licence: "",
  labels: ["background", "hot dog, hotdog", "Daisy"],
  weights: new Map<string, Tensor>([
    ["norm/gamma", tensor(2, 3)],
    ["norm/beta", tensor(4, 5)],
    ["norm/moving_mean", tensor(6, 7)],
    ["norm/moving_variance", tensor(8, 9)],
    ["top/kernel", { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }],
    ["top/bias", tensor(10, 20, 30)],
  ]),
};
const tail: Network = { name: "small", inputShape: [4, 4, 2], layers: network.layers.slice(0, 2), output: "pool" };
const cut: CutBackbone = { ...featureCut([4, 4, 2]), tail, network: { ...network, output: "pool" }, cut: INPUT };

/** What training starts from, by name. */
function start(
  spec: Partial<JobSpec>,
  { classes = ["daisy", "other"], given = undefined as GivenWeights | undefined } = {},
): Record<string, number[]> {
  const job = resolveJob({ dataset: { source: "x" }, ...spec });
  const none = classes.map(() => 0);
  const plan = trainingShape(job, cut, { classes, counts: { train: classes.map(() => 9), validation: none, test: none } });
  const state = {
    parameters: new Float32Array(plan.layout.length).fill(NaN),
    statistics: new Float32Array(plan.statisticsLayout.length).fill(NaN),
  };
  initializeState(state, plan, job, { backbone, digest: "d" }, given);
  const tensors = [...tensorsOf(plan.layout, state.parameters), ...tensorsOf(plan.statisticsLayout, state.statistics)];
  return Object.fromEntries(tensors.map(([name, { data }]) => [name, [...data]]));
}

function refusal(run: () => unknown): CodedError {
  try {
    run();
  } catch (error) {
    if (error instanceof CodedError) return error;
  }
  throw new Error("nothing was refused");
}

test("the tail starts from the backbone with its moving statistics, the head from its initialiser", () => {
  const from = start({ head: { initializer: { zeros: {} } } });
  expect(from).toEqual({
    "norm/gamma": [2, 3],
    "norm/beta": [4, 5],
    "norm/moving_mean": [6, 7],
    "norm/moving_variance": [8, 9],
    "head/output/kernel": [0, 0, 0, 0],
    "head/output/bias": [0, 0],
  });
  expect(start({})["head/output/kernel"]!.every((value) => value !== 0)).toBe(true);
});

test("random weights: the tail as if it had seen nothing", () => {
  expect(start({ initialWeights: { random: {} } })).toMatchObject({
    "norm/gamma": [1, 1],
    "norm/beta": [0, 0],
    "norm/moving_mean": [0, 0],
    "norm/moving_variance": [1, 1],
  });
});

describe("from a class of the backbone's classifier", () => {
  const head = { initialFromClass: "DAISY" };
  // Three classes: each of the two others has half of what is left where their logits are 0.
  const less = (bias: number): number => Math.fround(bias - Math.log(2));
  test("two classes: its weights, and their negative for the other", () => {
    expect(start({ head })).toMatchObject({ "head/output/kernel": [3, -3, 6, -6], "head/output/bias": [less(30), -less(30)] });
    expect(start({ head: { initialFromClass: "hot_dog" } }, { classes: ["a", "hot-dog"] })).toMatchObject({
      "head/output/kernel": [-2, 2, -5, 5],
      "head/output/bias": [-less(20), less(20)],
    });
  });
  test("one logit speaks for the second class", () => {
    const training = { loss: "SIGMOID_CROSS_ENTROPY" } as const;
    expect(start({ head, training })).toMatchObject({ "head/output/kernel": [-3, -6], "head/output/bias": [-less(30)] });
    expect(start({ head, training }, { classes: ["a", "daisy"] })).toMatchObject({
      "head/output/kernel": [3, 6],
      "head/output/bias": [less(30)],
    });
  });
  test("more classes: the others keep what the initialiser gave them", () => {
    const given = start({ head: { ...head, initializer: { zeros: {} } } }, { classes: ["a", "daisy", "z"] });
    expect(given).toMatchObject({ "head/output/kernel": [0, 3, 0, 0, 6, 0], "head/output/bias": [0, 30, 0] });
  });
  test("a class that the dataset does not have is refused, and a hidden layer between", () => {
    expect(refusal(() => start({ head: { initialFromClass: "hotdog" } })).message).toMatch(
      /not of the dataset, whose classes are "daisy", "other"/u,
    );
    expect(refusal(() => start({ head: { ...head, layers: [{ dense: { units: 5 } }] } }))).toMatchObject({ code: "WEIGHTS_INVALID" });
  });
});

describe("from given weights", () => {
  const result = { backboneDigest: "d", classes: ["daisy", "other"] };
  const headWeights = new Map<string, Tensor>([
    ["head/output/kernel", { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
    ["head/output/bias", tensor(5, 6)],
  ]);
  const job = { initialWeights: { fromResult: "out" } };

  test("the head of a result on the same backbone; the tail that it did not train from the backbone", () => {
    expect(start(job, { given: { from: "out", tensors: headWeights, origin: result } })).toMatchObject({
      "norm/gamma": [2, 3],
      "head/output/kernel": [1, 2, 3, 4],
      "head/output/bias": [5, 6],
    });
  });

  test("names change their prefixes", () => {
    const tensors = new Map([...headWeights].map(([name, value]) => [name.replace("head/", "net."), value]));
    expect(
      start(
        { initialWeights: { fromResult: "out", prefix: { strip: "net.", add: "head/" } } },
        { given: { from: "f", tensors, origin: undefined } },
      ),
    ).toMatchObject({
      "head/output/bias": [5, 6],
    });
  });

  test("other classes, another backbone, missing, surplus, misshaped and unsound tensors are named", () => {
    const of = (tensors: ReadonlyMap<string, Tensor>, origin: GivenWeights["origin"] = result): string =>
      refusal(() => start(job, { given: { from: "out", tensors, origin } })).message;
    expect(of(headWeights, { ...result, classes: ["daisy", "tulip"] })).toMatch(
      /its classes are "daisy", "tulip", the dataset has "daisy", "other"/u,
    );
    expect(of(headWeights, { ...result, backboneDigest: "e" })).toMatch(/missing: norm\/gamma \[2\]/u);
    expect(of(new Map([...headWeights].slice(1)))).toMatch(/missing: head\/output\/kernel \[2, 2\]/u);
    expect(of(new Map([...headWeights, ["below/kernel", tensor(1)]]))).toMatch(/surplus: below\/kernel/u);
    expect(of(new Map([...headWeights, ["head/output/bias", tensor(1, 2, 3)]]))).toMatch(
      /misshaped: head\/output\/bias must be \[2\], found \[3\]/u,
    );
    expect(of(new Map([...headWeights, ["head/output/bias", tensor(1, NaN)]]))).toMatch(/not finite: head\/output\/bias/u);
  });
});
