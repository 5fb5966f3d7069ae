import { canonicalJson } from "../../domain/canonical-json.js";
import type { ResolvedJob } from "../../domain/job/job.js";
import { limits } from "../../domain/limits.js";
import type { Clock } from "../../platform/clock/clock.js";
import type { JobProfiles } from "./plan-job.js";

type Engines = Readonly<Record<keyof JobProfiles, string>>;

/** The same question, asked once for all jobs on the same network and cut; a refusal is not remembered. */
export function rememberedEngines(
  ask: (job: ResolvedJob) => Promise<Engines>,
  clock: Pick<Clock, "monotonic">,
): (job: ResolvedJob) => Promise<Engines> {
  const answers = new Map<string, { readonly engines: Promise<Engines>; readonly untilMs: number }>();
  return (job) => {
    const { backbone, preprocessing, cut, engines: wanted } = job;
    const key = canonicalJson({ backbone, preprocessing, cut, wanted });
    const known = answers.get(key);
    if (known !== undefined && known.untilMs > clock.monotonic()) return known.engines;
    const engines = ask(job);
    answers.delete(key); // to the end of the line
    answers.set(key, { engines, untilMs: clock.monotonic() + limits.enginesRememberedMs });
    engines.catch(() => answers.get(key)?.engines === engines && answers.delete(key));
    const [oldest] = answers.keys();
    if (answers.size > limits.enginesRemembered && oldest !== undefined) answers.delete(oldest);
    return engines;
  };
}
