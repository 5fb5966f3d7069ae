import type { Preprocessing } from "../../domain/network/preprocessing.js";
import { html, trusted, type Html } from "./html.js";
import type { ReportInput } from "./report-input.js";

/** How to predict with what was exported. */
export function usage({ out, passport }: ReportInput): Html {
  const { size } = passport.features.preprocessing;
  const { words, python } = resizing(passport.features.preprocessing);
  return html`<section>
    <h2>Using the model</h2>
    <pre><code>graft predict ${shellWord(out)} picture.jpg</code></pre>
    <p>
      <code>model.onnx</code> takes <code>images</code>: uint8 RGB pixels <code>[N, ${size}, ${size}, 3]</code> (${words}, bilinear), and
      gives <code>probabilities</code> in the order of <code>labels.txt</code>. <code>tfjs/model.json</code> takes the same pixels as
      float32. Normalisation is inside both. Other resizers give slightly other pixels, and so slightly other probabilities.
    </p>
    <pre><code># Python: pip install onnxruntime numpy pillow
import numpy, onnxruntime
from PIL import Image
picture = Image.open("picture.jpg").convert("RGB")
${trusted(python.join("\n"))}
session = onnxruntime.InferenceSession("model.onnx")
print(session.run(None, {"images": numpy.asarray(picture, numpy.uint8)[None]})[0])</code></pre>
  </section>`;
}

/** What happens to a picture, in words and in lines of Python (kept out of the template, where a formatter would join them; all that is filled in are numbers). */
function resizing({ size, resize, resizeTo }: Preprocessing): { readonly words: string; readonly python: readonly string[] } {
  const stretched = resize === "STRETCH";
  const fit = stretched ? `stretched to ${resizeTo} x ${resizeTo}` : `the short side resized to ${resizeTo}`;
  const resizingLines = stretched
    ? [`picture = picture.resize((${resizeTo}, ${resizeTo}), Image.BILINEAR)`]
    : [
        `scale = ${resizeTo} / min(picture.size)`,
        `picture = picture.resize([round(side * scale) for side in picture.size], Image.BILINEAR)`,
      ];
  if (stretched && resizeTo === size) return { words: fit, python: resizingLines };
  const croppingLines = [
    `left, top = [(side - ${size}) // 2 for side in picture.size]`,
    `picture = picture.crop((left, top, left + ${size}, top + ${size}))`,
  ];
  return { words: `${fit}, then the centre ${size} x ${size}`, python: [...resizingLines, ...croppingLines] };
}

/** For POSIX shells. */
function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
