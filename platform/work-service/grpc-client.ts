import { imageIdBytes, imageIdCount } from "../../domain/features/image-ids.js";
import type { CommittedShard } from "../../domain/job/records.js";
import { limits } from "../../domain/limits.js";
import {
  CommitTaskResponse_Outcome,
  HeartbeatTaskResponse_LeaseState,
  ReportPhaseRequest_Phase,
  WorkService as WorkServiceSchema,
} from "../../proto/gen/graft/v1/work_service_pb.js";
import type { Clock } from "../clock/clock.js";
import { grpcClient, type CallSettings, type GrpcChannel } from "../grpc/client.js";
import { FieldReader } from "../grpc/fields.js";
import { retry, type RetryPolicy } from "../retry/retry.js";
import {
  readClaim,
  readJoined,
  shardsByMessage,
  writeCommit,
  writeEvaluation,
  writeFailure,
  writeLease,
  writeMember,
  writeShard,
  writeStepReport,
} from "./messages.js";
import type { LeasedTask, WorkService } from "./work-service.js";

export interface WorkServiceOptions {
  readonly clock: Clock;
  /** Numbers in [0, 1), for the jitter. */
  readonly random: () => number;
  /** The worker stops: calls that wait end with the signal's reason, and nothing is repeated any more. What it still has to hand back is sent once. */
  readonly signal?: AbortSignal;
  /** How long to wait for a coordinator that is away; default `awayPolicy`. */
  readonly away?: RetryPolicy;
  /** Default limits.grpcCallMs. */
  readonly deadlineMs?: number;
}

/** Long enough for a coordinator that is started anew on another machine. */
export const awayPolicy: RetryPolicy = {
  attemptsMax: Infinity,
  firstDelayMs: limits.retryFirstDelayMs,
  delayMsMax: limits.coordinatorRetryMs,
  totalMsMax: limits.coordinatorAwayMs,
};

/**
 * The coordinator's WorkService over gRPC. Calls without which a worker cannot go on wait for a coordinator that is away.
 * Heartbeats and reports are tried once, briefly: they fail with SERVER_UNAVAILABLE, and the worker goes on without them.
 */
export function grpcWorkService(channel: GrpcChannel, options: WorkServiceOptions): WorkService {
  const { away = awayPolicy, deadlineMs = limits.grpcCallMs, signal } = options;
  const client = grpcClient(WorkServiceSchema, channel);
  const needed = <T>(call: (settings: CallSettings) => Promise<T>): Promise<T> => retry(away, () => call({ deadlineMs }), options);
  const polled = <T>(call: (settings: CallSettings) => Promise<T>): Promise<T> =>
    retry(away, () => call({ deadlineMs: limits.longPollMs + deadlineMs, signal }), options);
  const report: CallSettings = { deadlineMs: Math.min(limits.grpcReportMs, deadlineMs) };
  const answer = (method: string): FieldReader => new FieldReader(`${method}: answer of ${channel.address}`, "CONTRACT_MISMATCH");

  const appendShards = async (task: LeasedTask, shards: readonly CommittedShard[]): Promise<void> => {
    await needed((settings) => client.appendShards({ ...writeLease(task), shards: shards.map(writeShard) }, settings));
  };
  /** Sends ahead what is too much for one message, and returns the rest. */
  const appendAllButLast = async (task: LeasedTask, shards: readonly CommittedShard[]): Promise<readonly CommittedShard[]> => {
    const groups = shardsByMessage(shards);
    const last = groups.pop() ?? [];
    for (const group of groups) await appendShards(task, group);
    return last;
  };

  return {
    async claimTask(worker, profile, jobId) {
      const request = { worker, profile, ...(jobId === undefined ? {} : { jobId }) };
      return readClaim(answer("ClaimTask"), await polled((settings) => client.claimTask(request, settings)), worker);
    },
    async heartbeatTask(task, progress) {
      const { state } = await client.heartbeatTask({ ...writeLease(task), progress }, report);
      return answer("HeartbeatTask").present("state", state) === HeartbeatTaskResponse_LeaseState.KEPT ? "kept" : "lost";
    },
    async lookupFeatures(task, imageIds, view) {
      const request = { ...writeLease(task), imageIds, view };
      const { present } = await needed((settings) => client.lookupFeatures(request, settings));
      const fields = answer("LookupFeatures");
      const bytes = fields.present("present", present);
      const rows = imageIdCount(imageIds);
      return bytes.length === rows
        ? bytes
        : fields.fail("present", `must have a byte for each of ${rows} image ids, found ${bytes.length}`);
    },
    async commitTask(task, commit) {
      const shards = await appendAllButLast(task, commit.shards);
      const { outcome } = await needed((settings) => client.commitTask(writeCommit(task, { ...commit, shards }), settings));
      return answer("CommitTask").present("outcome", outcome) === CommitTaskResponse_Outcome.COMMITTED ? "committed" : "already committed";
    },
    appendShards,
    async releaseTask(task, shards) {
      const last = await appendAllButLast(task, shards);
      await needed((settings) => client.releaseTask({ ...writeLease(task), shards: last.map(writeShard) }, settings));
    },
    async joinTraining(trainer, profile, jobId, step) {
      const request = { trainer, profile, ...(jobId === undefined ? {} : { jobId }), ...(step === undefined ? {} : { step }) };
      return readJoined(answer("JoinTraining"), await polled((settings) => client.joinTraining(request, settings)));
    },
    async reportMissingFeatures(member, imageIds) {
      const request = { ...writeMember(member), imageIds: imageIdBytes(imageIds) };
      await needed((settings) => client.reportMissingFeatures(request, settings));
    },
    async reportStep(member, stepReport) {
      const { generation } = await client.reportStep(writeStepReport(member, stepReport), report);
      return answer("ReportStep").count("generation", generation);
    },
    async reportStall(member, step, missing) {
      const { generation } = await client.reportStall({ ...writeMember(member), step, missing: [...missing] }, report);
      return answer("ReportStall").count("generation", generation);
    },
    async reportEvaluation(member, evaluation) {
      await client.reportEvaluation(writeEvaluation(member, evaluation), report);
    },
    async commitCheckpoint(member, step) {
      await needed((settings) => client.commitCheckpoint({ ...writeMember(member), step }, settings));
    },
    async reportPhase(member, phase) {
      const request = {
        ...writeMember(member),
        phase: phase === "Evaluating" ? ReportPhaseRequest_Phase.EVALUATING : ReportPhaseRequest_Phase.EXPORTING,
      };
      await needed((settings) => client.reportPhase(request, settings));
    },
    async commitResult(member) {
      await needed((settings) => client.commitResult(writeMember(member), settings));
    },
    async reportFailure(failure) {
      await needed((settings) => client.reportFailure(writeFailure(failure), settings));
    },
  };
}
