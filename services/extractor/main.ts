#!/usr/bin/env node
import { runService } from "../../platform/service-process/service-process.js";
import { extractorConfig } from "./config.js";
import { extractorService } from "./service.js";

await runService("extractor", extractorConfig, extractorService(), ["name", "job", "engine", "datasetCredentials"]);
