import { trusted, type Html } from "./html.js";

export interface Curve {
  readonly series: "train" | "validation";
  readonly points: readonly { readonly step: number; readonly value: number }[];
}

/** More points than pixels show nothing more. */
const pointsMax = 400;

/**
 * A line chart over steps as inline SVG, drawn by vega without a browser: curves differ in colour and in dash, and all colours are CSS variables of the page
 * (`--text`, `--line`, `--train`, `--validation`), so that light, dark and print decide them.
 */
export async function lineChart(title: string, curves: readonly Curve[], domain: readonly [number, number] | undefined): Promise<Html> {
  // Imported here, since loading vega takes a quarter of a second that no other command should pay.
  const [vega, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  const values = curves.flatMap(({ series, points }) => thinned(points).map(({ step, value }) => ({ step, value, series })));
  const series = curves.map((curve) => curve.series);
  const { spec } = compile({
    data: { values },
    width: 420,
    height: 240,
    mark: {
      type: "line",
      interpolate: "linear",
      strokeWidth: 2,
      point: values.length <= series.length ? { filled: true, size: 40 } : false,
    },
    encoding: {
      x: { field: "step", type: "quantitative", title: "step", axis: { tickCount: 6, grid: false, format: "d" } },
      y: {
        field: "value",
        type: "quantitative",
        title,
        axis: { tickCount: 6 },
        scale: domain ? { domain: [...domain], nice: true, zero: false } : { zero: true },
      },
      color: { field: "series", type: "nominal", title: null, scale: { domain: series, range: series.map((name) => `var(--${name})`) } },
      strokeDash: {
        field: "series",
        type: "nominal",
        title: null,
        scale: { domain: series, range: series.map((name) => (name === "train" ? [1, 0] : [6, 3])) },
      },
    },
    config: {
      aria: false,
      background: "transparent",
      font: "inherit",
      view: { stroke: null },
      axis: {
        labelColor: "var(--text)",
        titleColor: "var(--text)",
        domainColor: "var(--line)",
        tickColor: "var(--line)",
        gridColor: "var(--line)",
        gridOpacity: 0.5,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: "normal",
      },
      legend: { labelColor: "var(--text)", orient: "top", labelFontSize: 12, symbolStrokeWidth: 2, symbolSize: 400 },
    },
  });
  const view = new vega.View(vega.parse(spec), { renderer: "none" });
  try {
    return trusted(await view.toSVG());
  } finally {
    view.finalize();
  }
}

/** Every k-th point and the last. */
function thinned<T>(points: readonly T[]): readonly T[] {
  const every = Math.ceil(points.length / pointsMax);
  return every <= 1 ? points : points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
