import { imageIdAt, imageIdCount } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";
import {
  CommitTaskResponse_Outcome,
  HeartbeatTaskResponse_LeaseState,
  ReportPhaseRequest_Phase,
  WorkService as WorkServiceSchema,
} from "../../proto/gen/graft/v1/work_service_pb.js";
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

/** A WorkService as a service for `serveGrpc`. */
export function workServiceHandlers(work: WorkService): GrpcService {
  const reader = (method: string): FieldReader => new FieldReader(method, "REQUEST_INVALID");
  return grpcService(
    WorkServiceSchema,
    { audience: "worker", contract: "required", waiting: ["claimTask", "joinTraining"] },
    {
      async claimTask({ worker, profile, jobId }, { signal }) {
        const fields = reader("ClaimTask");
        const claim = await work.claimTask(fields.text("worker", worker), readProfile(fields, profile), absentIfEmpty(jobId));
        // Nobody would work on it until its lease ends.
        if (signal.aborted && claim.kind === "task") await work.releaseTask(claim, []);
        return writeClaim(claim);
      },
      async heartbeatTask(request) {
        const fields = reader("HeartbeatTask");
        const kept = await work.heartbeatTask(readLease(fields, request), readProgress(fields, request.progress));
        return { state: kept === "kept" ? HeartbeatTaskResponse_LeaseState.KEPT : HeartbeatTaskResponse_LeaseState.LOST };
      },
      async lookupFeatures(request) {
        const fields = reader("LookupFeatures");
        const imageIds = fields.imageIds("image_ids", request.imageIds);
        const count = imageIdCount(imageIds);
        if (count > limits.lookupImageIds) fields.fail("image_ids", `must hold at most ${limits.lookupImageIds} image ids, found ${count}`);
        return { present: await work.lookupFeatures(readLease(fields, request), imageIds, fields.count("view", request.view)) };
      },
      async commitTask(request) {
        const { task, commit } = readCommit(reader("CommitTask"), request);
        const outcome = await work.commitTask(task, commit);
        return {
          outcome: outcome === "committed" ? CommitTaskResponse_Outcome.COMMITTED : CommitTaskResponse_Outcome.ALREADY_COMMITTED,
        };
      },
      async appendShards(request) {
        const fields = reader("AppendShards");
        await work.appendShards(readLease(fields, request), readShards(fields, request.shards));
        return {};
      },
      async releaseTask(request) {
        const fields = reader("ReleaseTask");
        await work.releaseTask(readLease(fields, request), readShards(fields, request.shards));
        return {};
      },
      async joinTraining({ trainer, profile, jobId, step }) {
        const fields = reader("JoinTraining");
        const known = step === undefined ? undefined : fields.count("step", step);
        return writeJoined(
          await work.joinTraining(fields.text("trainer", trainer), readProfile(fields, profile), absentIfEmpty(jobId), known),
        );
      },
      async reportMissingFeatures(request) {
        const fields = reader("ReportMissingFeatures");
        const imageIds = fields.imageIds("image_ids", request.imageIds);
        const ids = Array.from({ length: imageIdCount(imageIds) }, (_, row) => imageIdAt(imageIds, row));
        await work.reportMissingFeatures(readMember(fields, request), ids);
        return {};
      },
      async reportStep(request) {
        const fields = reader("ReportStep");
        return { generation: await work.reportStep(readMember(fields, request), readStepReport(fields, request)) };
      },
      async reportStall(request) {
        const fields = reader("ReportStall");
        return { generation: await work.reportStall(readMember(fields, request), fields.count("step", request.step), request.missing) };
      },
      async reportEvaluation(request) {
        const fields = reader("ReportEvaluation");
        await work.reportEvaluation(readMember(fields, request), readEvaluation(fields, request));
        return {};
      },
      async reportPhase(request) {
        const fields = reader("ReportPhase");
        const phase = fields.present("phase", request.phase);
        if (ReportPhaseRequest_Phase[phase] === undefined) fields.fail("phase", `must be EVALUATING or EXPORTING, found ${phase}`);
        await work.reportPhase(readMember(fields, request), phase === ReportPhaseRequest_Phase.EVALUATING ? "Evaluating" : "Exporting");
        return {};
      },
      async commitCheckpoint(request) {
        const fields = reader("CommitCheckpoint");
        await work.commitCheckpoint(readMember(fields, request), fields.count("step", request.step));
        return {};
      },
      async commitResult(request) {
        await work.commitResult(readMember(reader("CommitResult"), request));
        return {};
      },
      async reportFailure(request) {
        await work.reportFailure(readFailure(reader("ReportFailure"), request));
        return {};
      },
    },
  );
}

function absentIfEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
