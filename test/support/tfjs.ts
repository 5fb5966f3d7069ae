import "@tensorflow/tfjs-backend-cpu";
import * as tf from "@tensorflow/tfjs-core";
import { type LayersModel, loadLayersModel } from "@tensorflow/tfjs-layers";

interface ModelJson {
  readonly modelTopology: object;
  readonly weightsManifest: readonly { readonly paths: readonly string[]; readonly weights: readonly tf.io.WeightsManifestEntry[] }[];
}

/** Loads a LayersModel as `tf.loadLayersModel` does from a web server; `read` gives the bytes of a file of the model's folder. */
export async function loadTfjsModel(read: (file: string) => Uint8Array): Promise<LayersModel> {
  await tf.setBackend("cpu");
  const { modelTopology, weightsManifest } = JSON.parse(new TextDecoder().decode(read("model.json"))) as ModelJson;
  return loadLayersModel(
    tf.io.fromMemory({
      modelTopology,
      weightSpecs: weightsManifest.flatMap(({ weights }) => [...weights]),
      weightData: new Uint8Array(Buffer.concat(weightsManifest.flatMap(({ paths }) => paths.map(read)))).buffer,
    }),
  );
}

/** The model's output for `rows` rows of its one input, flat. */
export function predictTfjs(model: LayersModel, rows: number, input: ArrayLike<number>): Float32Array {
  const shape = model.inputs[0]?.shape.slice(1) as number[];
  return tf.tidy(() =>
    (model.predict(tf.tensor(Float32Array.from(input), [rows, ...shape], "float32"), { batchSize: rows }) as tf.Tensor)
      .dataSync<"float32">()
      .slice(),
  );
}
