import { exerciseEngine } from "../../../test/conformance/engine.js";
import { openOnnxEngine } from "./onnx.js";

exerciseEngine("onnx", (threads) => openOnnxEngine({ threads }));
