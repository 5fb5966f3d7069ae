import { milestones, type Milestone } from "../../domain/job/records.js";
import { runService } from "../../platform/service-process/service-process.js";
import { coordinatorConfig } from "../../services/coordinator/config.js";
import { coordinatorService } from "../../services/coordinator/service.js";
import { extractorConfig, extractorFlags } from "../../services/extractor/config.js";
import { extractorService } from "../../services/extractor/service.js";
import { trainerConfig, trainerFlags } from "../../services/trainer/config.js";
import { trainerService } from "../../services/trainer/service.js";

/**
 * A service's program that ends by its own hand at a point of its life: `node service.js KIND --config FILE [--kill MILESTONE OCCURRENCE SIGNAL]`. SIGSTOP instead of SIGKILL freezes it there.
 */
const kind = process.argv[2];
const at = process.argv.indexOf("--kill");
const kill =
  at < 0
    ? undefined
    : {
        milestone: process.argv[at + 1] as Milestone,
        occurrence: Number(process.argv[at + 2]),
        signal: process.argv[at + 3] as NodeJS.Signals,
      };
process.argv.splice(2, 1); // the service itself reads the rest
if (at >= 0) process.argv.splice(at - 1, 4);
if (kill !== undefined && !milestones.includes(kill.milestone)) throw new Error(`there is no milestone ${kill.milestone}`);

let reached = 0;
function milestone(name: Milestone): void {
  if (name === kill?.milestone && ++reached === kill.occurrence) process.kill(process.pid, kill.signal);
}

if (kind === "coordinator") await runService(kind, coordinatorConfig, coordinatorService(milestone));
else if (kind === "extractor") await runService(kind, extractorConfig, extractorService(milestone), extractorFlags);
else if (kind === "trainer") await runService(kind, trainerConfig, trainerService(milestone), trainerFlags);
else throw new Error(`there is no service ${String(kind)}`);
