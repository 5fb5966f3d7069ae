import type { TensorStatistics } from "./histogram.js";

/** One evaluation as it is kept for curves and event files. Pure JSON. */
export interface HistoryPoint {
  readonly step: number;
  readonly epoch: number;
  /** Over the training rows since the last evaluation; null before the first step. */
  readonly train: { readonly loss: number; readonly accuracy: number } | null;
  /** Null where there are no validation pictures. */
  readonly validation: { readonly loss: number; readonly accuracy: number; readonly count: number } | null;
  readonly learningRate: number;
  /** Milliseconds since the Unix epoch; for event files, it shapes nothing. */
  readonly wallMs: number;
  /** Seconds of training until here in this process. */
  readonly seconds: number;
  /** By layer; null where no histograms were due. */
  readonly layers: Readonly<Record<string, LayerHistograms>> | null;
}

/** Statistics of what a layer has: a relu has no weights, a dense layer without bias no biases. */
export interface LayerHistograms {
  readonly weights?: TensorStatistics;
  readonly biases?: TensorStatistics;
  readonly preActivations?: TensorStatistics;
  readonly activations?: TensorStatistics;
}
