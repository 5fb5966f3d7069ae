#!/usr/bin/env node
import { runService } from "../../platform/service-process/service-process.js";
import { trainerConfig, trainerFlags } from "./config.js";
import { trainerService } from "./service.js";

await runService("trainer", trainerConfig, trainerService(), trainerFlags);
