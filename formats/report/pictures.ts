import { count } from "../../domain/job/figures.js";
import { probability } from "./format.js";
import { html, type Html } from "./html.js";
import type { Picture, ReportInput } from "./report-input.js";

const picturesPerClass = 8;
const misclassifiedMax = 50;

export function misclassified({ metrics, misclassified, misclassifiedCount }: ReportInput): Html {
  if (metrics.perClass === null) return html``;
  const shown = misclassified.slice(0, misclassifiedMax);
  const heading = html`<h2>Misclassified pictures (${metrics.perClass.split} split)</h2>`;
  if (misclassifiedCount === 0)
    return html`<section>
      ${heading}
      <p>None.</p>
    </section>`;
  return html`<section>
    ${heading}
    <p>
      ${count(misclassifiedCount)} of
      ${count(metrics[metrics.perClass.split].count ?? 0)}${shown.length < misclassifiedCount ? `; these are ${count(shown.length)} of them` : ""}.
    </p>
    <ul class="pictures">
      ${shown.map(
        (picture) =>
          html`<li>
            ${image(picture, `${picture.label}, taken for ${picture.predicted}`)}<b><bdi>${picture.label}</bdi></b> taken for
            <b><bdi>${picture.predicted}</bdi></b> (${probability(picture.probability)})<br /><span class="muted"
              ><bdi>${picture.uri}</bdi></span
            >
          </li>`,
      )}
    </ul>
  </section>`;
}

export function samplePictures({ pictures }: ReportInput): Html {
  if (pictures.length === 0) return html``;
  return html`<section>
    <h2>Some pictures of every class</h2>
    ${pictures.map(
      ({ label, pictures: some }) =>
        html`<h3><bdi>${label}</bdi></h3>
          <ul class="pictures plain">
            ${some.slice(0, picturesPerClass).map((picture) => html`<li>${image(picture, `${label}: ${picture.uri}`)}</li>`)}
          </ul>`,
    )}
  </section>`;
}

function image({ thumbnail }: Picture, description: string): Html {
  if (thumbnail === undefined) return html`<span class="none" role="img" aria-label="${description}">no picture</span>`;
  return html`<img
    alt="${description}"
    title="${description}"
    loading="lazy"
    src="data:image/jpeg;base64,${Buffer.from(thumbnail).toString("base64")}"
  />`;
}
