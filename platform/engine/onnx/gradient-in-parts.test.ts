import { beforeAll } from "vitest";
import type { OpenEngines } from "../../../test/conformance/engine/engines.js";
import { exerciseGradientsInParts } from "../../../test/conformance/engine/gradients-in-parts.js";
import { openOnnxEngine } from "./onnx.js";

let opened: OpenEngines;
beforeAll(async () => {
  opened = { engine: await openOnnxEngine({ threads: 2 }), single: await openOnnxEngine({ threads: 1 }) };
});
exerciseGradientsInParts(() => opened);
