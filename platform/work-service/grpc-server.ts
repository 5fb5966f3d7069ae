import { imageIdAt, imageIdCount } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";
import {
  CommitTaskResponse_Outcome,
  HeartbeatTaskResponse_LeaseState,
  ReportPhaseRequest_Phase,
  WorkService as WorkServiceSchema,
} from "../../proto/gen/graft/v1/work_service_pb.js";
import type { Caller } from "../access/access.js";
import { FieldReader } from "../grpc/fields.js";
import { grpcService, type GrpcService } from "../grpc/service.js";
import {
  readCommit,
  readEvaluation,
  readFailure,
  readLease,
  readMember,
  readProfile,
  readProgress,
  readShards,
  readStepReport,
  writeClaim,
  writeJoined,
} from "./messages.js";
import type { WorkService } from "./work-service.js";

/** A WorkService as a service for `serveGrpc`; `workFor` is asked at every call for what this caller may do. */
export function workServiceHandlers(workFor: (caller: Caller) => WorkService): GrpcService {
  const reader = (method: string): FieldReader => new FieldReader(method, "REQUEST_INVALID");
  return grpcService(
    WorkServiceSchema,
    { audience: "worker", contract: "required", waiting: ["claimTask", "joinTraining"] },
    {
      async claimTask({ worker, profile, jobId }, { caller, signal }) {
        const work = workFor(caller);
        const fields = reader("ClaimTask");
        const claim = await work.claimTask(fields.text("worker", worker), readProfile(fields, profile), absentIfEmpty(jobId));
        // Nobody would work on it until its lease ends.
        if (signal.aborted && claim.kind === "task") await work.releaseTask(claim, []);
        return writeClaim(claim);
      },
      async heartbeatTask(request, { caller }) {
        const fields = reader("HeartbeatTask");
        const kept = await workFor(caller).heartbeatTask(readLease(fields, request), readProgress(fields, request.progress));
        return { state: kept === "kept" ? HeartbeatTaskResponse_LeaseState.KEPT : HeartbeatTaskResponse_LeaseState.LOST };
      },
      async lookupFeatures(request, { caller }) {
        const fields = reader("LookupFeatures");
        const imageIds = fields.imageIds("image_ids", request.imageIds);
        const count = imageIdCount(imageIds);
        if (count > limits.lookupImageIds) fields.fail("image_ids", `must hold at most ${limits.lookupImageIds} image ids, found ${count}`);
        return { present: await workFor(caller).lookupFeatures(readLease(fields, request), imageIds, fields.count("view", request.view)) };
      },
      async commitTask(request, { caller }) {
        const { task, commit } = readCommit(reader("CommitTask"), request);
        const outcome = await workFor(caller).commitTask(task, commit);
        return {
          outcome: outcome === "committed" ? CommitTaskResponse_Outcome.COMMITTED : CommitTaskResponse_Outcome.ALREADY_COMMITTED,
        };
      },
      async appendShards(request, { caller }) {
        const fields = reader("AppendShards");
        await workFor(caller).appendShards(readLease(fields, request), readShards(fields, request.shards));
        return {};
      },
      async releaseTask(request, { caller }) {
        const fields = reader("ReleaseTask");
        await workFor(caller).releaseTask(readLease(fields, request), readShards(fields, request.shards));
        return {};
      },
      async joinTraining({ trainer, profile, jobId, step }, { caller, signal }) {
        const fields = reader("JoinTraining");
        const known = step === undefined ? undefined : fields.count("step", step);
        return writeJoined(
          await workFor(caller).joinTraining(
            fields.text("trainer", trainer),
            readProfile(fields, profile),
            absentIfEmpty(jobId),
            known,
            signal,
          ),
        );
      },
      async reportMissingFeatures(request, { caller }) {
        const fields = reader("ReportMissingFeatures");
        const imageIds = fields.imageIds("image_ids", request.imageIds);
        const ids = Array.from({ length: imageIdCount(imageIds) }, (_, row) => imageIdAt(imageIds, row));
        await workFor(caller).reportMissingFeatures(readMember(fields, request), ids);
        return {};
      },
      async reportStep(request, { caller }) {
        const fields = reader("ReportStep");
        return { generation: await workFor(caller).reportStep(readMember(fields, request), readStepReport(fields, request)) };
      },
      async reportStall(request, { caller }) {
        const fields = reader("ReportStall");
        return {
          generation: await workFor(caller).reportStall(readMember(fields, request), fields.count("step", request.step), request.missing),
        };
      },
      async reportEvaluation(request, { caller }) {
        const fields = reader("ReportEvaluation");
        await workFor(caller).reportEvaluation(readMember(fields, request), readEvaluation(fields, request));
        return {};
      },
      async reportPhase(request, { caller }) {
        const fields = reader("ReportPhase");
        const phase = fields.present("phase", request.phase);
        if (ReportPhaseRequest_Phase[phase] === undefined) fields.fail("phase", `must be EVALUATING or EXPORTING, found ${phase}`);
        await workFor(caller).reportPhase(
          readMember(fields, request),
          phase === ReportPhaseRequest_Phase.EVALUATING ? "Evaluating" : "Exporting",
        );
        return {};
      },
      async commitCheckpoint(request, { caller }) {
        const fields = reader("CommitCheckpoint");
        await workFor(caller).commitCheckpoint(readMember(fields, request), fields.count("step", request.step));
        return {};
      },
      async commitResult(request, { caller }) {
        await workFor(caller).commitResult(readMember(reader("CommitResult"), request));
        return {};
      },
      async reportFailure(request, { caller }) {
        await workFor(caller).reportFailure(readFailure(reader("ReportFailure"), request));
        return {};
      },
    },
  );
}

function absentIfEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
