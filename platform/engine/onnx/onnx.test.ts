import { describe } from "vitest";
import { exerciseEngine } from "../../../test/conformance/engine.js";
import { openOnnxEngine } from "./onnx.js";

// By itself the engine takes the blocked lowering where this machine can.
describe.each([[undefined], ["portable"]] as const)("lowering %s", (lowering) => {
  exerciseEngine("onnx", (threads) => openOnnxEngine({ threads, ...(lowering && { lowering }) }));
});
