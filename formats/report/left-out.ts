import { count } from "../../domain/job/figures.js";
import { html, type Html } from "./html.js";
import type { ReportInput } from "./report-input.js";

/** Rows of the two tables; the totals are given with them. */
const rejectedMax = 100;

/** Rejected pictures, duplicates and conflicting labels. */
export function leftOut({
  rejectedCount,
  rejected,
  duplicateCount,
  conflictCount,
  conflicts,
  splitConflictCount,
}: ReportInput["samples"]): Html {
  const shown = rejected.slice(0, rejectedMax);
  const some = (shownCount: number, total: number): string => (shownCount < total ? ` The first ${count(shownCount)}:` : "");
  return html`<section>
    <h2>What was left out</h2>
    ${
      rejectedCount === 0
        ? html`<p>No picture was rejected.</p>`
        : html`<p>${count(rejectedCount, "picture")} rejected, for what the bytes are.${some(shown.length, rejectedCount)}</p>
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">picture</th>
                    <th scope="col">reason</th>
                  </tr>
                </thead>
                <tbody>
                  ${shown.map(
                    ({ uri, reason }) =>
                      html`<tr>
                        <th scope="row"><bdi>${uri}</bdi></th>
                        <td>${reason}</td>
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>`
    }
    <p>
      ${duplicateCount === 0 ? "No picture lies there twice." : `${count(duplicateCount, "duplicate")}: files with the bytes of another one count once.`}${splitConflictCount === 0 ? "" : ` In more than one split: ${count(splitConflictCount, "picture")}.`}
    </p>
    ${
      conflictCount === 0
        ? html`<p>No picture has two labels.</p>`
        : html`<p>
              ${count(conflictCount, "picture")} with two labels, used for
              nothing.${some(Math.min(conflicts.length, rejectedMax), conflictCount)}
            </p>
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">image id</th>
                    <th scope="col">where it lies</th>
                  </tr>
                </thead>
                <tbody>
                  ${conflicts.slice(0, rejectedMax).map(
                    ({ imageId, uris }) =>
                      html`<tr>
                        <th scope="row" class="digest">${imageId.slice(0, 16)}…</th>
                        <td>${uris.map((uri) => html`<div><bdi>${uri}</bdi></div>`)}</td>
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>`
    }
  </section>`;
}
