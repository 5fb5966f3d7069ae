import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CodedError } from "../../domain/errors.js";
import type { TensorStatistics } from "../../domain/training/histogram.js";
import { EventSchema } from "../../proto/gen/third_party/tensorboard/event_pb.js";
import { HistogramProtoSchema, Summary_ValueSchema, SummarySchema } from "../../proto/gen/third_party/tensorboard/summary_pb.js";
import { decodeRecords, encodeRecords } from "./records.js";

/** What TensorBoard shows at one step. */
export interface SummaryEvent {
  readonly step: number;
  /** Seconds since the Unix epoch. */
  readonly wallSeconds: number;
  readonly scalars: ReadonlyMap<string, number>;
  readonly histograms: ReadonlyMap<string, HistogramSummary>;
}

export type HistogramSummary = Pick<TensorStatistics, "minimum" | "maximum" | "count" | "sum" | "sumOfSquares" | "limits" | "counts">;

const fileVersion = "brain.Event:2";

/** The name under which TensorBoard looks for event files: it must hold `tfevents`. */
export function eventFileName(wallSeconds: number): string {
  return `events.out.tfevents.${String(Math.floor(wallSeconds)).padStart(10, "0")}.graft`;
}

/** An event file; equal events give equal bytes. `wallSeconds` is the time of the file's first event, before all others. */
export function encodeEventFile(wallSeconds: number, events: readonly SummaryEvent[]): Uint8Array {
  const head = create(EventSchema, { wallTime: wallSeconds, what: { case: "fileVersion", value: fileVersion } });
  return encodeRecords([head, ...events.map(eventMessage)].map((event) => toBinary(EventSchema, event)));
}

function eventMessage({ step, wallSeconds, scalars, histograms }: SummaryEvent) {
  const value = [
    ...[...scalars].map(([tag, scalar]) => create(Summary_ValueSchema, { tag, value: { case: "simpleValue", value: scalar } })),
    ...[...histograms].map(([tag, histogram]) =>
      create(Summary_ValueSchema, { tag, value: { case: "histo", value: histogramMessage(histogram) } }),
    ),
  ];
  return create(EventSchema, {
    wallTime: wallSeconds,
    step: BigInt(step),
    what: { case: "summary", value: create(SummarySchema, { value }) },
  });
}

function histogramMessage({ minimum, maximum, count, sum, sumOfSquares, limits, counts }: HistogramSummary) {
  return create(HistogramProtoSchema, {
    min: minimum,
    max: maximum,
    num: count,
    sum,
    sumSquares: sumOfSquares,
    bucketLimit: [...limits],
    bucket: [...counts],
  });
}

/**
 * Events of a file that graft or another program wrote; summaries of other kinds (images, tensors) are left out.
 * @throws CodedError FILE_FORMAT_INVALID naming the record that is damaged.
 */
export function decodeEventFile(file: Uint8Array): SummaryEvent[] {
  const messages = decodeRecords(file).map((record, index) => {
    try {
      return fromBinary(EventSchema, record);
    } catch (cause) {
      throw new CodedError(
        "FILE_FORMAT_INVALID",
        `event file: record ${index} is no tensorboard.Event; the file is damaged, export it again`,
        {},
        cause,
      );
    }
  });
  const first = messages[0];
  if (first?.what.case !== "fileVersion" || first.what.value !== fileVersion) {
    throw new CodedError(
      "FILE_FORMAT_INVALID",
      `event file: the first event must give the version "${fileVersion}"; this is no TensorBoard event file`,
    );
  }
  return messages.flatMap((event) => {
    if (event.what.case !== "summary") return [];
    const scalars = new Map<string, number>();
    const histograms = new Map<string, HistogramSummary>();
    for (const { tag, value } of event.what.value.value) {
      if (value.case === "simpleValue") scalars.set(tag, value.value);
      if (value.case === "histo") {
        const { min, max, num, sum, sumSquares, bucketLimit, bucket } = value.value;
        histograms.set(tag, { minimum: min, maximum: max, count: num, sum, sumOfSquares: sumSquares, limits: bucketLimit, counts: bucket });
      }
    }
    return [{ step: Number(event.step), wallSeconds: event.wallTime, scalars, histograms }];
  });
}
