import { beforeAll, describe } from "vitest";
import type { EngineName } from "../../domain/training/trainable-layers.js";
import type { Engine } from "../../platform/engine/engine.js";
import { exerciseCounting } from "./engine/counting.js";
import type { OpenEngines } from "./engine/engines.js";
import { exerciseEvaluation } from "./engine/evaluation.js";
import { exerciseForward } from "./engine/forward.js";
import { exerciseGradients } from "./engine/gradients.js";
import { exerciseGrains } from "./engine/grains.js";
import { exerciseRefusals } from "./engine/refusals.js";

/** What every engine promises. `threads` are the counts that results are compared over where the profile says that they do not depend on them. */
export function exerciseEngine(name: EngineName, open: (threads: number) => Promise<Engine>): void {
  describe(`engine ${name}`, () => {
    let opened: OpenEngines;
    beforeAll(async () => {
      opened = { engine: await open(2), single: await open(1) };
    });
    const engines = (): OpenEngines => opened;
    exerciseForward(engines);
    exerciseGradients(name, engines);
    exerciseGrains(name, engines);
    exerciseCounting(engines);
    exerciseEvaluation(name, engines);
    exerciseRefusals(name, engines);
  });
}
