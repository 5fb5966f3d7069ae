import { beforeAll } from "vitest";
import type { OpenEngines } from "../../../test/conformance/engine/engines.js";
import { exerciseSteps } from "../../../test/conformance/engine/steps.js";
import { openOnnxEngine } from "./onnx.js";

let opened: OpenEngines;
beforeAll(async () => {
  opened = { engine: await openOnnxEngine({ threads: 2 }), single: await openOnnxEngine({ threads: 1 }) };
});
exerciseSteps(() => opened);
