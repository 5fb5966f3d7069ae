import type { ObjectStore } from "../object-store/object-store.js";
import { JobObjects, type JobStore } from "./job-store.js";

const SPEC = "spec.json";
const STATUS = "status.json";

/** Jobs as `jobs/<id>/spec.json` and `status.json` in the object store that also holds their facts. */
export function objectJobStore(store: ObjectStore): JobStore {
  return {
    async create(jobId, spec) {
      const { outcome } = await new JobObjects(store, jobId).createJson(SPEC, spec, (value) => value);
      return outcome;
    },
    readSpec: (jobId, check) => new JobObjects(store, jobId).readJson(SPEC, check),
    writeStatus: (jobId, status) => new JobObjects(store, jobId).putJson(STATUS, status),
    readStatus: (jobId, check) => new JobObjects(store, jobId).readJson(STATUS, check),
    async *list() {
      for await (const key of store.list("jobs/")) {
        const jobId = /^jobs\/([^/]+)\/spec\.json$/.exec(key)?.[1];
        if (jobId !== undefined) yield jobId;
      }
    },
  };
}
