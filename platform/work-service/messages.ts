import type { MessageInitShape } from "@bufbuild/protobuf";
import { errorCodes, type ErrorCode } from "../../domain/errors.js";
import type { NumericsProfile } from "../../domain/features/numerics-profile.js";
import { IMAGE_ID_BYTES } from "../../domain/features/image-ids.js";
import { limits } from "../../domain/limits.js";
import type { CommittedShard, TaskCommit } from "../../domain/job/records.js";
import type {
  ClaimTaskResponse,
  ClaimTaskResponseSchema,
  CommitTaskRequest,
  CommitTaskRequestSchema,
  CommittedShard as CommittedShardMessage,
  CommittedShardSchema,
  JoinTrainingResponse,
  JoinTrainingResponseSchema,
  NumericsProfile as NumericsProfileMessage,
  ReportEvaluationRequest,
  ReportEvaluationRequestSchema,
  ReportFailureRequest,
  ReportFailureRequestSchema,
  ReportStepRequest,
  ReportStepRequestSchema,
} from "../../proto/gen/graft/v1/work_service_pb.js";
import type { FieldReader } from "../grpc/fields.js";
import type { Joined, LeasedTask, Member, ReportedEvaluation, StepReport, TaskClaim, TaskProgress, WorkerFailure } from "./work-service.js";

/** The port's values as messages of proto/graft/v1/work_service.proto and back. What is read is checked by a FieldReader, which knows whose mistake a wrong one is. */

interface LeaseFields {
  readonly jobId?: string;
  readonly task?: number;
  readonly lease?: string;
  readonly worker?: string;
}

interface MemberFields {
  readonly jobId?: string;
  readonly trainer?: string;
  readonly generation?: number;
}

/** Only the four fields of a lease, whatever else the value has. */
export function writeLease({ jobId, task, lease, worker }: LeasedTask): Required<LeaseFields> {
  return { jobId, task, lease, worker };
}

export function readLease(fields: FieldReader, { jobId, task, lease, worker }: LeaseFields): LeasedTask {
  return {
    jobId: fields.text("job_id", jobId),
    task: fields.count("task", task),
    lease: fields.text("lease", lease),
    worker: fields.text("worker", worker),
  };
}

export function writeMember({ jobId, trainer, generation }: Member): Required<MemberFields> {
  return { jobId, trainer, generation };
}

export function readMember(fields: FieldReader, { jobId, trainer, generation }: MemberFields): Member {
  return {
    jobId: fields.text("job_id", jobId),
    trainer: fields.text("trainer", trainer),
    generation: fields.count("generation", generation),
  };
}

export function readProfile(fields: FieldReader, profile: NumericsProfileMessage | undefined): NumericsProfile {
  const { engine, engineVersion, device, instructionSet, threads, batch, decoder } = fields.present("profile", profile);
  return {
    engine: fields.text("profile.engine", engine),
    engineVersion: fields.text("profile.engine_version", engineVersion),
    device: fields.text("profile.device", device),
    instructionSet: fields.text("profile.instruction_set", instructionSet),
    threads: fields.count("profile.threads", threads),
    batch: fields.count("profile.batch", batch),
    decoder: fields.present("profile.decoder", decoder),
  };
}

export function writeClaim(claim: TaskClaim): MessageInitShape<typeof ClaimTaskResponseSchema> {
  if (claim.kind === "ask again") return {};
  if (claim.kind === "done") return { claim: { case: "done", value: {} } };
  const { jobId, task, lease, leaseMs } = claim;
  return { claim: { case: "task", value: { jobId, task, lease, leaseMilliseconds: leaseMs } } };
}

export function readClaim(fields: FieldReader, { claim }: ClaimTaskResponse, worker: string): TaskClaim {
  if (claim.case === undefined) return { kind: "ask again" };
  if (claim.case === "done") return { kind: "done" };
  const leaseMs = fields.count("task.lease_milliseconds", claim.value.leaseMilliseconds);
  return { kind: "task", leaseMs, ...readLease(fields, { ...claim.value, worker }) };
}

export function readProgress(
  fields: FieldReader,
  progress: { readonly extracted?: number; readonly cached?: number; readonly rejected?: number } | undefined,
): TaskProgress {
  const { extracted, cached, rejected } = fields.present("progress", progress);
  return {
    extracted: fields.count("progress.extracted", extracted),
    cached: fields.count("progress.cached", cached),
    rejected: fields.count("progress.rejected", rejected),
  };
}

export function writeShard(shard: CommittedShard): MessageInitShape<typeof CommittedShardSchema> {
  const { sha256, bytes, view, rows, imageIds, thumbnails } = shard;
  return { sha256, bytes: BigInt(bytes), view, rows, imageIds: fromBase64(imageIds), ...(thumbnails === null ? {} : { thumbnails }) };
}

/** A shard's message without its image ids: two digests in hex, three numbers, their tags. */
const SHARD_MESSAGE_BYTES = 192;

/** Shards in groups of at most `limits.shardMessageBytes`, in order. */
export function shardsByMessage(shards: readonly CommittedShard[]): CommittedShard[][] {
  const groups: CommittedShard[][] = [];
  let left = 0;
  for (const shard of shards) {
    const bytes = SHARD_MESSAGE_BYTES + shard.rows * IMAGE_ID_BYTES;
    if (bytes > left) {
      groups.push([]);
      left = limits.shardMessageBytes;
    }
    groups.at(-1)?.push(shard);
    left -= bytes;
  }
  return groups;
}

export function readShards(fields: FieldReader, shards: readonly CommittedShardMessage[]): CommittedShard[] {
  return shards.map((shard, index) => {
    const name = `shards[${index}]`;
    const rows = fields.count(`${name}.rows`, shard.rows);
    return {
      sha256: fields.sha256(`${name}.sha256`, shard.sha256),
      bytes: fields.count(`${name}.bytes`, shard.bytes),
      view: fields.count(`${name}.view`, shard.view),
      rows,
      imageIds: toBase64(fields.imageIds(`${name}.image_ids`, shard.imageIds, rows)),
      thumbnails: shard.thumbnails === undefined || shard.thumbnails === "" ? null : fields.sha256(`${name}.thumbnails`, shard.thumbnails),
    };
  });
}

export function writeCommit(task: LeasedTask, commit: TaskCommit): MessageInitShape<typeof CommitTaskRequestSchema> {
  const { imageIds, rejected, extracted, cached, shards } = commit;
  return {
    ...writeLease(task),
    imageIds: fromBase64(imageIds),
    rejected: rejected.map(({ row, reason }) => ({ row, reason })),
    extracted,
    cached,
    shards: shards.map(writeShard),
  };
}

export function readCommit(fields: FieldReader, request: CommitTaskRequest): { readonly task: LeasedTask; readonly commit: TaskCommit } {
  const task = readLease(fields, request);
  return {
    task,
    commit: {
      formatVersion: 1,
      task: task.task,
      worker: task.worker,
      imageIds: toBase64(fields.imageIds("image_ids", request.imageIds)),
      rejected: request.rejected.map(({ row, reason }, index) => ({
        row: fields.count(`rejected[${index}].row`, row),
        reason: fields.text(`rejected[${index}].reason`, reason),
      })),
      extracted: fields.count("extracted", request.extracted),
      cached: fields.count("cached", request.cached),
      shards: readShards(fields, request.shards),
    },
  };
}

export function writeJoined(joined: Joined): MessageInitShape<typeof JoinTrainingResponseSchema> {
  if (joined.kind === "ask again") return {};
  if (joined.kind === "done") return { membership: { case: "done", value: {} } };
  const { jobId, generation, trainers, startStep, stateWriter, key } = joined;
  const value = {
    jobId,
    generation,
    trainers: [...trainers],
    startStep,
    integrityKey: key,
    ...(stateWriter === undefined ? {} : { stateWriter }),
  };
  return { membership: { case: "generation", value } };
}

export function readJoined(fields: FieldReader, { membership }: JoinTrainingResponse): Joined {
  if (membership.case === undefined) return { kind: "ask again" };
  if (membership.case === "done") return { kind: "done" };
  const { jobId, generation, trainers, startStep, stateWriter, integrityKey } = membership.value;
  return {
    kind: "generation",
    jobId: fields.text("job_id", jobId),
    generation: fields.count("generation", generation),
    trainers,
    startStep: fields.count("start_step", startStep),
    stateWriter: stateWriter === "" ? undefined : stateWriter,
    key: fields.present("integrity_key", integrityKey),
  };
}

export function writeStepReport(member: Member, report: StepReport): MessageInitShape<typeof ReportStepRequestSchema> {
  const { step, steps, millisecondsPerStep, grainsComputed } = report;
  return {
    ...writeMember(member),
    step,
    steps,
    grainsComputed: BigInt(grainsComputed),
    ...(millisecondsPerStep === null ? {} : { millisecondsPerStep }),
  };
}

export function readStepReport(fields: FieldReader, request: ReportStepRequest): StepReport {
  return {
    step: fields.count("step", request.step),
    steps: fields.count("steps", request.steps),
    millisecondsPerStep: request.millisecondsPerStep ?? null,
    grainsComputed: fields.count("grains_computed", request.grainsComputed),
  };
}

export function writeEvaluation(member: Member, evaluation: ReportedEvaluation): MessageInitShape<typeof ReportEvaluationRequestSchema> {
  const { step, epoch, train, validation, seconds } = evaluation;
  return {
    ...writeMember(member),
    step,
    epoch,
    seconds,
    ...(train === null ? {} : { trainLoss: train.loss, trainAccuracy: train.accuracy }),
    ...(validation === null
      ? {}
      : { validationLoss: validation.loss, validationAccuracy: validation.accuracy, validationCount: validation.count }),
  };
}

export function readEvaluation(fields: FieldReader, request: ReportEvaluationRequest): ReportedEvaluation {
  const { trainLoss, trainAccuracy, validationLoss, validationAccuracy, validationCount } = request;
  return {
    step: fields.count("step", request.step),
    epoch: fields.present("epoch", request.epoch),
    seconds: fields.present("seconds", request.seconds),
    train: trainLoss === undefined ? null : { loss: trainLoss, accuracy: fields.present("train_accuracy", trainAccuracy) },
    validation:
      validationLoss === undefined
        ? null
        : {
            loss: validationLoss,
            accuracy: fields.present("validation_accuracy", validationAccuracy),
            count: fields.count("validation_count", validationCount),
          },
  };
}

export function writeFailure(failure: WorkerFailure): MessageInitShape<typeof ReportFailureRequestSchema> {
  const { worker, jobId, code, message, lease } = failure;
  return { worker, jobId, code, message, ...(lease === undefined ? {} : { lease }) };
}

export function readFailure(fields: FieldReader, { worker, jobId, code, message, lease }: ReportFailureRequest): WorkerFailure {
  const known = fields.text("code", code);
  if (known !== "INTERNAL" && !isErrorCode(known))
    fields.fail("code", `must be one of docs/errors.md or INTERNAL, found ${JSON.stringify(known.slice(0, 70))}`);
  return {
    worker: fields.text("worker", worker),
    jobId: fields.text("job_id", jobId),
    code: known,
    message: fields.present("message", message),
    lease: lease === "" ? undefined : lease,
  };
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, "base64");
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}
