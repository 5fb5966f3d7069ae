import { count } from "../../domain/job/figures.js";
import { html, type Html } from "./html.js";

/** Beyond this, a table of all pairs is no longer readable; the most frequent confusions are listed instead. */
const classesMax = 100;

/** Confusions listed under the matrix. */
const pairsMax = 20;

/**
 * Rows are true classes, columns predicted ones; blue cells are right, orange ones wrong, darker for a larger share of the row.
 * `counts[true][predicted]`, both in the order of `classes`.
 */
export function confusionMatrix(classes: readonly string[], counts: readonly (readonly number[])[]): Html {
  return html`${
    classes.length <= classesMax
      ? matrix(classes, counts)
      : html`<p>${count(classes.length)} classes are too many for a matrix; these are the pairs that are confused most often.</p>`
  }
  ${frequentPairs(classes, counts)}`;
}

function matrix(classes: readonly string[], counts: readonly (readonly number[])[]): Html {
  const size = classes.length > 25 ? " small" : "";
  return html`<p class="muted">Rows: the true class. Columns: what was predicted. Empty cells are 0.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Confusion matrix">
      <table class="matrix${size}">
        <thead>
          <tr>
            <td>true \\ predicted</td>
            ${classes.map((name) => html`<th scope="col" title="${name}"><bdi>${name}</bdi></th>`)}
          </tr>
        </thead>
        <tbody>
          ${classes.map((name, row) => matrixRow(name, row, counts[row] ?? []))}
        </tbody>
      </table>
    </div>`;
}

function matrixRow(name: string, row: number, counts: readonly number[]): Html {
  const total = counts.reduce((sum, value) => sum + value, 0);
  const cells = counts.map((value, column) =>
    value === 0 ? html`<td></td>` : html`<td class="${column === row ? "r" : "w"}${shade(value / total)}">${count(value)}</td>`,
  );
  return html`<tr>
    <th scope="row" title="${name}"><bdi>${name}</bdi></th>
    ${cells}
  </tr>`;
}

function shade(share: number): number {
  return share <= 0.05 ? 0 : share <= 0.3 ? 1 : share <= 0.7 ? 2 : 3;
}

function frequentPairs(classes: readonly string[], counts: readonly (readonly number[])[]): Html {
  const pairs = counts
    .flatMap((row, truth) => row.map((value, predicted) => ({ truth, predicted, value })))
    .filter(({ truth, predicted, value }) => truth !== predicted && value > 0)
    .sort((a, b) => b.value - a.value || a.truth - b.truth || a.predicted - b.predicted);
  if (pairs.length === 0) return html`<p>No picture was taken for another class.</p>`;
  const table = html`<div class="scroll">
    <table>
      <thead>
        <tr>
          <th scope="col">true class</th>
          <th scope="col">taken for</th>
          <th scope="col" class="number">pictures</th>
        </tr>
      </thead>
      <tbody>
        ${pairs.slice(0, pairsMax).map(
          ({ truth, predicted, value }) =>
            html`<tr>
              <td><bdi>${classes[truth]}</bdi></td>
              <td><bdi>${classes[predicted]}</bdi></td>
              <td class="number">${count(value)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
  return classes.length <= classesMax
    ? html`<details>
        <summary>Most frequent confusions</summary>
        ${table}
      </details>`
    : table;
}
