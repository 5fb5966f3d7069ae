import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { elementCount } from "../../domain/network/network.js";
import { parameterLayout } from "../../domain/training/parameters.js";
import { addRowsAlongTree } from "../../domain/training/tree.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { Engine, EvaluationSums, Trainable } from "../../platform/engine/engine.js";

const profile: NumericsProfile = {
  engine: "simulated",
  engineVersion: "1",
  device: "cpu",
  instructionSet: "none",
  threads: 1,
  batch: 0,
  decoder: "",
};

export const simulatedProfile = profile;

/**
 * Softmax regression in plain loops: a backbone that only flattens and normalises, a head of one dense layer, perhaps behind dropout. Each call takes `callMs`.
 * `computing` sees the parameters of every call.
 */
export function simulatedEngine(
  clock: Clock,
  callMs: number,
  computing: (what: "gradient" | "evaluation", parameters: Float32Array) => void,
): Engine {
  return {
    name: profile.engine,
    forwardProfile: profile,
    gradientProfile: profile,
    async compileForward(network, _weights, { batch, preprocessing }) {
      const length = elementCount(network.inputShape);
      const { mean, deviation } = preprocessing!;
      return {
        batch,
        async run(input, rows) {
          await clock.sleep(callMs);
          return Float32Array.from({ length: rows * length }, (_, i) => (input[i]! - mean[i % 3]!) / deviation[i % 3]!);
        },
        release: async () => undefined,
      };
    },
    async compileGradient(trainable, { grainRows, grains }) {
      const head = headOf(trainable);
      const all = new Float32Array(grains * head.length);
      return {
        async run({ parameters, features, labels, rowWeights, dropoutMasks, gradient }) {
          await clock.sleep(callMs);
          computing("gradient", parameters);
          all.fill(0);
          const losses = new Float32Array(grains);
          let correct = 0;
          for (let row = 0; row < grains * grainRows; row++) {
            const weight = rowWeights[row]!;
            if (weight === 0) continue;
            const grain = Math.floor(row / grainRows);
            const from = row * head.inputs;
            const masked = features.subarray(from, from + head.inputs) as Float32Array;
            const inputs = dropoutMasks[0] === undefined ? masked : masked.map((value, i) => value * dropoutMasks[0]![from + i]!);
            const answer = head.classify(parameters, inputs, labels[row]!);
            losses[grain]! += Math.fround(answer.loss * weight);
            if (answer.isCorrect) correct++;
            head.addGradient(all.subarray(grain * head.length, (grain + 1) * head.length), inputs, answer.slopes, weight);
          }
          const sum = addRowsAlongTree(all, grains);
          const into = gradient ?? new Float32Array(head.length);
          into.set(sum);
          return { loss: addRowsAlongTree(losses, grains)[0]!, correct, gradient: into, statistics: new Float32Array(0) };
        },
        release: async () => undefined,
      };
    },
    async compileEvaluation(trainable, rows) {
      const head = headOf(trainable);
      return {
        rows,
        async run({ parameters, features, labels, rowWeights }): Promise<EvaluationSums> {
          await clock.sleep(callMs);
          computing("evaluation", parameters);
          const logits = new Float32Array(rows * head.outputs);
          let loss = 0;
          let correct = 0;
          for (let row = 0; row < rows; row++) {
            if (rowWeights[row] === 0) continue;
            const inputs = features.subarray(row * head.inputs, (row + 1) * head.inputs) as Float32Array;
            const answer = head.classify(parameters, inputs, labels[row]!);
            logits.set(answer.logits, row * head.outputs);
            loss = Math.fround(loss + answer.loss);
            if (answer.isCorrect) correct++;
          }
          return { loss, correct, logits };
        },
        activations: async () => new Map(),
        release: async () => undefined,
      };
    },
  };
}

/** The one dense layer `head/output`: bias first, then the kernel `[inputs, outputs]`. */
function headOf({ network, loss: { labelSmoothing } }: Trainable) {
  const layout = parameterLayout(network);
  const [bias, kernel] = layout.entries;
  const outputs = bias!.length;
  const inputs = kernel!.length / outputs;
  return {
    length: layout.length,
    inputs,
    outputs,
    classify(parameters: Float32Array, row: Float32Array, label: number) {
      const logits = parameters.slice(bias!.offset, bias!.offset + outputs);
      for (let i = 0; i < inputs; i++)
        for (let output = 0; output < outputs; output++)
          logits[output] = logits[output]! + Math.fround(row[i]! * parameters[kernel!.offset + i * outputs + output]!);
      const largest = Math.max(...logits);
      const exponentials = logits.map((logit) => Math.exp(logit - largest));
      const sum = exponentials.reduce((total, value) => Math.fround(total + value), 0);
      const targets = exponentials.map((_, output) => (output === label ? 1 - labelSmoothing : 0) + labelSmoothing / outputs);
      const slopes = exponentials.map((value, output) => Math.fround(value / sum) - targets[output]!);
      const loss = Math.fround(-targets.reduce((total, target, output) => total + target * (logits[output]! - largest - Math.log(sum)), 0));
      return { logits, slopes, loss, isCorrect: logits.indexOf(largest) === label };
    },
    addGradient(gradient: Float32Array, row: Float32Array, slopes: Float32Array, weight: number): void {
      for (let output = 0; output < outputs; output++) {
        const slope = Math.fround(slopes[output]! * weight);
        gradient[bias!.offset + output]! += slope;
        for (let i = 0; i < inputs; i++) gradient[kernel!.offset + i * outputs + output]! += Math.fround(row[i]! * slope);
      }
    },
  };
}
