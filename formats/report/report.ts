import { createHash } from "node:crypto";
import { classes } from "./classes.js";
import { curves } from "./curves.js";
import { glance } from "./glance.js";
import { html, trusted } from "./html.js";
import { leftOut } from "./left-out.js";
import { misclassified, samplePictures } from "./pictures.js";
import { provenance } from "./provenance.js";
import type { ReportInput } from "./report-input.js";
import { style } from "./style.js";
import { usage } from "./usage.js";

/**
 * The report as one HTML file that opens without a network: no script, no font, no file besides it, and a policy that forbids them.
 * Names of classes and files are escaped wherever they stand.
 */
export async function renderReport(input: ReportInput): Promise<string> {
  const { title, metrics } = input;
  const styleDigest = createHash("sha256").update(style).digest("base64");
  const policy = `default-src 'none'; img-src data:; style-src 'sha256-${styleDigest}'; base-uri 'none'; form-action 'none'`;
  const page = html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta http-equiv="Content-Security-Policy" content="${policy}" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <title>${title}: graft report</title>
      ${trusted(`<style>${style}</style>`)}
    </head>
    <body>
      <header>
        <h1><bdi>${title}</bdi></h1>
        ${glance(input)}
      </header>
      <main>
        ${await curves(input.history)} ${classes(input)} ${misclassified(input)} ${samplePictures(input)} ${leftOut(input.samples)}
        ${usage(input)} ${provenance(input.passport)}
      </main>
      <footer class="muted">
        <p>graft ${input.passport.versions.graft}, weights <span class="digest">${metrics.weightsSha256}</span></p>
      </footer>
    </body>
  </html> `;
  return `<!doctype html>\n${page.text}`;
}
