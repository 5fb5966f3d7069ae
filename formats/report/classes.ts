import { confusionMatrix } from "./confusion-matrix.js";
import { count } from "../../domain/job/figures.js";
import { fraction } from "./format.js";
import { html, type Html } from "./html.js";
import type { ReportInput } from "./report-input.js";

/** Confusion matrix, precision and recall. */
export function classes({ metrics, confusion }: ReportInput): Html {
  if (metrics.perClass === null || confusion === null) return html``;
  const { split, classes: rows } = metrics.perClass;
  // Over the classes that have a value: one that was never predicted has no precision.
  const mean = (score: "precision" | "recall" | "f1"): number | null => {
    const values = rows.flatMap((row) => row[score] ?? []);
    return values.length === 0 ? null : sum(values) / values.length;
  };
  return html`<section>
    <h2>Classes (${split} split)</h2>
    <h3>Confusion matrix</h3>
    ${confusionMatrix(metrics.classes, confusion)}
    <h3>Precision and recall</h3>
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">class</th>
            <th scope="col" class="number">precision</th>
            <th scope="col" class="number">recall</th>
            <th scope="col" class="number">F1</th>
            <th scope="col" class="number">pictures</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ label, precision, recall, f1, support }) =>
              html`<tr>
                <th scope="row"><bdi>${label}</bdi></th>
                <td class="number">${fraction(precision)}</td>
                <td class="number">${fraction(recall)}</td>
                <td class="number">${fraction(f1)}</td>
                <td class="number">${count(support)}</td>
              </tr>`,
          )}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">mean of the classes</th>
            <td class="number">${fraction(mean("precision"))}</td>
            <td class="number">${fraction(mean("recall"))}</td>
            <td class="number">${fraction(mean("f1"))}</td>
            <td class="number">${count(sum(rows.map((row) => row.support)))}</td>
          </tr>
        </tfoot>
      </table>
    </div>
  </section>`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
