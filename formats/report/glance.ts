import { count } from "../../domain/job/figures.js";
import { duration, fraction, wilsonInterval } from "./format.js";
import { html, type Html } from "./html.js";
import type { ReportInput } from "./report-input.js";

/** The result in one look. */
export function glance({ passport, metrics, seconds }: ReportInput): Html {
  const { backbone, cut, dataset } = passport;
  const judged = (["test", "validation"] as const).find((split) => metrics[split].accuracy !== null);
  const { accuracy, count: total } = judged === undefined ? metrics.train : metrics[judged];
  const note =
    judged === "test"
      ? undefined
      : html`<p>
          There is no test split${judged === undefined ? " and no validation split" : ""}: this accuracy is over pictures that
          ${judged === undefined ? "were trained on" : "the training could look at"}, so expect less on new ones.
        </p>`;
  const rate = metrics.extraction.imagesPerSecond;
  return html`<dl class="glance">
      <div class="result">
        <dt>${judged ?? "train"} accuracy</dt>
        <dd>${fraction(accuracy)}</dd>
        <small>N = ${count(total ?? 0)}${interval(accuracy, total)}</small>
      </div>
      <div>
        <dt>backbone</dt>
        <dd>${backbone.name}</dd>
        <small>cut at ${cut}, ${count(passport.training.parameters)} parameters trained</small>
      </div>
      <div>
        <dt>pictures</dt>
        <dd>${count(dataset.rows)} in ${count(dataset.classes.length)} classes</dd>
        <small
          >${count(sum(dataset.counts.train))} train, ${count(sum(dataset.counts.validation))} validation,
          ${count(sum(dataset.counts.test))} test</small
        >
      </div>
      <div>
        <dt>features</dt>
        <dd>${count(metrics.extraction.extracted)} computed, ${count(metrics.extraction.cached)} from the cache</dd>
        <small>${rate === null ? "no picture was decoded" : `${rate.toFixed(1)} pictures a second`}</small>
      </div>
      <div>
        <dt>time</dt>
        <dd>${duration(seconds.total)}</dd>
        <small>extraction ${duration(seconds.extraction)}, ${count(metrics.train.steps)} steps ${duration(seconds.training)}</small>
      </div>
    </dl>
    ${note}`;
}

function interval(accuracy: number | null, total: number | null): string {
  if (accuracy === null || total === null || total === 0) return "";
  const [low, high] = wilsonInterval(Math.round(accuracy * total), total);
  return `, 95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
