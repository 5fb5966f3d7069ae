import { exerciseEngine } from "../../../test/conformance/engine.js";
import { openTensorflowEngine } from "./tensorflow.js";

exerciseEngine("tensorflow", () => openTensorflowEngine({ threads: 2 }));
