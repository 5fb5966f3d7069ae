#!/usr/bin/env node
import { runService } from "../../platform/service-process/service-process.js";
import { extractorConfig, extractorFlags } from "./config.js";
import { extractorService } from "./service.js";

await runService("extractor", extractorConfig, extractorService(), extractorFlags);
