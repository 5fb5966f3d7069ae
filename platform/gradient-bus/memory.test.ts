import { exerciseGradientBus } from "../../test/conformance/gradient-bus.js";
import { memoryGradientBus } from "./memory.js";

exerciseGradientBus("memory", (onHandlerError) => Promise.resolve(memoryGradientBus(onHandlerError)));
