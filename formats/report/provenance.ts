import { isSha256Hex } from "../../domain/features/sha256.js";
import type { Passport } from "../passport/passport.js";
import { html, type Html } from "./html.js";

/** Everything that determined the result, and the digests of what came out: the passport as tables. */
export function provenance(passport: Passport): Html {
  const { spec, dataset, backbone, cut, features, featureSpecDigest, training, versions, weightsSha256, files } = passport;
  return html`<section>
    <h2>What determined the result</h2>
    <p>
      The same passport gives the same weights, whatever the number of workers and
      interruptions${training.profilePinned ? "" : ". This job accepted features of any numerics profile, so its digests need not repeat"}.
    </p>
    ${table("Recipe", { cut, head: spec.head, training: spec.training, minimumAccuracy: spec.minimumAccuracy, steps: training.steps, exportedStep: training.exportedStep, grains: training.grains })}
    ${table("Pictures", { digest: dataset.digest, split: spec.dataset.split, maxRejectedPercent: spec.dataset.maxRejectedPercent, preprocessing: features.preprocessing })}
    ${table("Backbone", { ...backbone })}
    ${table("Features", { digest: featureSpecDigest, shape: features.shape, dtype: features.dtype, numericsProfile: spec.numericsProfile, extraction: features.profile, training: training.profile })}
    ${table("Versions", versions)} ${table("SHA-256 of what came out", { weightsSha256, ...files })}
  </section>`;
}

/** One row per leaf, named by its path. */
function table(title: string, value: object): Html {
  return html`<details>
    <summary>${title}</summary>
    <div class="scroll">
      <table>
        <tbody>
          ${leaves(value).map(
            ([path, leaf]) =>
              html`<tr>
                <th scope="row">${path}</th>
                <td class="${isSha256Hex(leaf) ? "digest" : ""}">${leaf}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}

function leaves(value: object, prefix = ""): [path: string, leaf: string][] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]): [string, string][] => {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    if (inner === undefined) return [];
    if (Array.isArray(inner)) {
      const flat = inner.every((item) => typeof item !== "object" || item === null);
      if (flat) return [[path, inner.length === 0 ? "none" : inner.join(", ")]];
    }
    return typeof inner === "object" && inner !== null
      ? leaves(inner, path)
      : [[path, typeof inner === "string" ? inner : JSON.stringify(inner)]];
  });
}
