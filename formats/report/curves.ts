import { lineChart, type Curve } from "./charts.js";
import { count } from "../../domain/job/figures.js";
import { fraction } from "./format.js";
import { html, type Html } from "./html.js";
import type { CurvePoint } from "./report-input.js";

/** Loss and accuracy over steps, as charts and as numbers. */
export async function curves(history: readonly CurvePoint[]): Promise<Html> {
  const last = history.at(-1);
  if (last === undefined) return html``;
  const of = (measure: "loss" | "accuracy"): Curve[] => {
    const validated = history.flatMap(({ step, validation }) => (validation ? [{ step, value: validation[measure] }] : []));
    const trained = history.flatMap(({ step, train }) => (train ? [{ step, value: train[measure] }] : []));
    return [
      { series: "train" as const, points: trained },
      ...(validated.length > 0 ? [{ series: "validation" as const, points: validated }] : []),
    ];
  };
  const lowest = of("accuracy").reduce((low, { points }) => points.reduce((least, { value }) => Math.min(least, value), low), 0.95);
  const [loss, accuracy] = await Promise.all([
    lineChart("cross entropy", of("loss"), undefined),
    lineChart("accuracy", of("accuracy"), [lowest, 1]),
  ]);
  const ends = (measure: "loss" | "accuracy"): string =>
    `At step ${count(last.step)}: train ${fraction(last.train?.[measure] ?? null)}${last.validation ? `, validation ${fraction(last.validation[measure])}` : ""}.`;
  return html`<section>
    <h2>Training</h2>
    <div class="charts">
      <figure role="img" aria-label="Cross entropy over steps. ${ends("loss")}">
        ${loss}
        <figcaption>Cross entropy. ${ends("loss")}</figcaption>
      </figure>
      <figure role="img" aria-label="Accuracy over steps. ${ends("accuracy")}">
        ${accuracy}
        <figcaption>Accuracy. ${ends("accuracy")}</figcaption>
      </figure>
    </div>
    <details>
      <summary>The numbers</summary>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col" class="number">step</th>
              <th scope="col" class="number">train loss</th>
              <th scope="col" class="number">train accuracy</th>
              <th scope="col" class="number">validation loss</th>
              <th scope="col" class="number">validation accuracy</th>
            </tr>
          </thead>
          <tbody>
            ${history.map(
              ({ step, train, validation }) =>
                html`<tr>
                  <th scope="row" class="number">${count(step)}</th>
                  <td class="number">${fraction(train?.loss ?? null)}</td>
                  <td class="number">${fraction(train?.accuracy ?? null)}</td>
                  <td class="number">${fraction(validation?.loss ?? null)}</td>
                  <td class="number">${fraction(validation?.accuracy ?? null)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>
  </section>`;
}
