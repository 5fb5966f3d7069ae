import { JobService as JobServiceSchema } from "../../proto/gen/graft/v1/job_service_pb.js";
import type { Caller } from "../access/access.js";
import { FieldReader } from "../grpc/fields.js";
import { grpcService, type GrpcService } from "../grpc/service.js";
import type { JobService } from "./job-service.js";
import { readPage, readPhases, readReference, readRequest, writeEvent, writeResource, writeResult } from "./messages.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A JobService as a service for `serveGrpc`; `jobsFor` is asked at every call for what this caller may do. */
export function jobServiceHandlers(jobsFor: (caller: Caller) => JobService): GrpcService {
  const reader = (method: string): FieldReader => new FieldReader(method, "REQUEST_INVALID");
  return grpcService(
    JobServiceSchema,
    { audience: "client", contract: "optional", waiting: [] },
    {
      async submitJob({ requestId, job }, { caller }) {
        const fields = reader("SubmitJob");
        const id = fields.text("request_id", requestId);
        if (!UUID.test(id)) fields.fail("request_id", `must be a UUID, found ${JSON.stringify(id.slice(0, 60))}`);
        return { job: writeResource(await jobsFor(caller).submitJob(id.toLowerCase(), readRequest(job))) };
      },
      planJob: ({ job, read }, { caller }) => jobsFor(caller).planJob(readRequest(job), read ?? false),
      async getJob({ job }, { caller }) {
        return { job: writeResource(await jobsFor(caller).getJob(readReference(reader("GetJob"), job))) };
      },
      async listJobs(request, { caller }) {
        const fields = reader("ListJobs");
        const { namespace } = request;
        const page = await jobsFor(caller).listJobs({
          ...readPage(fields, request),
          ...(namespace === undefined || namespace === "" ? {} : { namespace }),
          phases: readPhases(fields, request.phases),
        });
        return { jobs: page.jobs.map(writeResource), nextPageToken: page.nextPageToken };
      },
      async *watchJob({ job, resourceVersion }, { caller, signal }) {
        const seen = resourceVersion === "" ? undefined : resourceVersion;
        for await (const resource of jobsFor(caller).watchJob(readReference(reader("WatchJob"), job), seen, signal)) {
          yield { job: writeResource(resource) };
        }
      },
      async suspendJob({ job }, { caller }) {
        return { job: writeResource(await jobsFor(caller).suspendJob(readReference(reader("SuspendJob"), job))) };
      },
      async resumeJob({ job }, { caller }) {
        return { job: writeResource(await jobsFor(caller).resumeJob(readReference(reader("ResumeJob"), job))) };
      },
      async cancelJob({ job }, { caller }) {
        return { job: writeResource(await jobsFor(caller).cancelJob(readReference(reader("CancelJob"), job))) };
      },
      async getResult({ job }, { caller }) {
        return writeResult(await jobsFor(caller).getResult(readReference(reader("GetResult"), job)));
      },
      async *readResultFile({ job, path, offset }, { caller, signal }) {
        const fields = reader("ReadResultFile");
        const [reference, name, from] = [readReference(fields, job), fields.text("path", path), fields.count("offset", offset ?? 0n)];
        for await (const data of jobsFor(caller).readResultFile(reference, name, from, signal)) yield { data };
      },
      async explainJob({ job }, { caller }) {
        const reasons = await jobsFor(caller).explainJob(readReference(reader("ExplainJob"), job));
        return { reasons: reasons.map(({ subject, message, depth }) => ({ subject, message, depth })) };
      },
      async listJobEvents(request, { caller }) {
        const fields = reader("ListJobEvents");
        const page = await jobsFor(caller).listJobEvents(readReference(fields, request.job), readPage(fields, request));
        return { events: page.events.map(writeEvent), nextPageToken: page.nextPageToken };
      },
    },
  );
}
