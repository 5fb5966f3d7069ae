/** The report's one style sheet. Blue and orange of the palette of Okabe and Ito, which the common kinds of colour blindness tell apart. */
export const style = `
:root { color-scheme: light dark; --text: #1b1f24; --muted: #57606a; --page: #ffffff; --panel: #f4f6f8; --line: #c9d1d9; --train: #0072b2; --validation: #c75000; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --muted: #9aa5b1; --page: #12161b; --panel: #1c222a; --line: #3b434d; --train: #56b4e9; --validation: #f0a030; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; padding-bottom: 0.2rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 0.4rem; }
p { margin: 0.4rem 0; max-width: 60rem; }
.muted, figcaption, dt { color: var(--muted); }
.glance { display: grid; grid-template-columns: repeat(auto-fit, minmax(12.6rem, 1fr)); gap: 0.8rem; margin: 1rem 0; }
.glance div { background: var(--panel); border-radius: 8px; padding: 0.7rem 0.8rem; }
.glance dd { margin: 0; font-size: 1rem; }
.glance .result dd { font-size: 2rem; font-weight: 600; line-height: 1.2; }
.glance small { display: block; color: var(--muted); font-size: 0.85rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: 0; }
svg { max-width: 100%; height: auto; font-family: inherit; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; font-weight: normal; }
thead th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; overflow-wrap: normal; }
.matrix { font-variant-numeric: tabular-nums; }
.matrix td { text-align: center; min-width: 2.2rem; border: 1px solid var(--line); overflow-wrap: normal; }
.matrix th { white-space: nowrap; border: 0; max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }
.matrix tbody th { position: sticky; left: 0; background: var(--page); }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 12rem; max-width: none; vertical-align: top; padding: 0.6rem 0.25rem; }
.matrix thead td { border: 0; color: var(--muted); vertical-align: bottom; text-align: left; }
.matrix.small { font-size: 10px; line-height: 1.1; }
.matrix.small td { min-width: 1.1rem; padding: 1px; }
.matrix.small th { padding: 1px 3px; }
${shades("r", "0, 114, 178")}
${shades("w", "213, 94, 0")}
.r3, .w3 { color: #fff; }
.r2, .w2 { color: inherit; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: 0.7rem; padding: 0; margin: 0.4rem 0 1rem; list-style: none; font-size: 0.8rem; line-height: 1.3; }
.pictures.plain { grid-template-columns: repeat(auto-fill, minmax(4.5rem, 1fr)); }
.pictures img, .none { display: block; width: 96px; height: 96px; object-fit: contain; background: var(--panel); border-radius: 4px; margin-bottom: 0.2rem; }
.plain img { width: 72px; height: 72px; }
.none { display: grid; place-items: center; color: var(--muted); }
pre, code { font: 13px/1.5 ui-monospace, monospace; }
pre { background: var(--panel); border-radius: 8px; padding: 0.7rem 0.9rem; overflow-x: auto; white-space: pre; overflow-wrap: normal; }
summary { cursor: pointer; color: var(--muted); margin: 0.4rem 0; }
.digest { font: 12px/1.6 ui-monospace, monospace; word-break: break-all; }
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  .matrix td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; }
  h2, h3 { break-after: avoid; }
  figure, tr, .pictures li { break-inside: avoid; }
}
`;

/** Four shades by share of the row: to 5 %, 30 %, 70 % and above. */
function shades(name: string, rgb: string): string {
  return [0.12, 0.3, 0.5, 0.92].map((opacity, i) => `.${name}${i} { background: rgba(${rgb}, ${opacity}); }`).join("\n");
}
