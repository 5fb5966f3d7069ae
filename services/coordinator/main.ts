#!/usr/bin/env node
import { runService } from "../../platform/service-process/service-process.js";
import { coordinatorConfig } from "./config.js";
import { coordinatorService } from "./service.js";

await runService("coordinator", coordinatorConfig, coordinatorService());
