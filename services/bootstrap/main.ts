#!/usr/bin/env node
import { randomBytes } from "node:crypto";
import pino from "pino";
import { CodedError, errorCodes } from "../../domain/errors.js";
import { systemClock } from "../../platform/clock/system.js";
import { readConfig } from "../../platform/config/config.js";
import { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import { contentConfig, secretsConfig } from "./config.js";
import { demoSecrets } from "./demo-secrets.js";
import { bringContent, makeSecrets } from "./service.js";

/** The exit code of a fault of graft, as sysexits.h has it. */
const SOFTWARE_EXIT_CODE = 70;

const log = pino({ base: { service: "bootstrap" }, timestamp: pino.stdTimeFunctions.isoTime });
// Nothing is lost: what is missing is made the next time.
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(errorCodes.INTERRUPTED.exitCode));

try {
  const [step, flag, file] = process.argv.slice(2);
  if (flag !== "--config" || file === undefined) throw usage();
  if (step === "secrets") {
    const { pictures } = await readConfig(file, secretsConfig);
    const kubernetes = Kubernetes.open({ clock: systemClock });
    const secrets = demoSecrets(pictures.endpoint, () => `k${randomBytes(19).toString("hex")}`);
    await makeSecrets(kubernetes, await kubernetes.namespace(), secrets, log);
  } else if (step === "content") await bringContent(await readConfig(file, contentConfig), log);
  else throw usage();
} catch (error) {
  const isKnown = error instanceof CodedError;
  log.fatal(isKnown ? { code: error.code, details: error.details } : { err: error }, isKnown ? error.message : "unexpected failure");
  process.exitCode = isKnown ? errorCodes[error.code].exitCode : SOFTWARE_EXIT_CODE;
}

function usage(): CodedError {
  return new CodedError("USAGE_INVALID", 'bootstrap: expected "secrets --config FILE" or "content --config FILE"');
}
