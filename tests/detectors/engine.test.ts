import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Hex } from '../../workloads/detectors/cache.ts';
import { modelCheck } from '../../workloads/detectors/check.ts';
import { loadDetector, toInput } from '../../workloads/detectors/engine.ts';
import { DEFAULT_MODEL, ensureDefaultModel } from '../../workloads/detectors/model.ts';
import { encodeOnnx } from '../../workloads/detectors/onnx-proto.ts';

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ccc-engine-'));
  path = await ensureDefaultModel();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A model that only adds a number: not a detector. */
const stranger = encodeOnnx({
  name: 'stranger',
  nodes: [{ op: 'Add', input: ['x', 'one'], output: 'y' }],
  tensors: [{ name: 'one', shape: [1], data: Float32Array.of(1) }],
  inputs: [{ name: 'x', shape: [1] }],
  outputs: [{ name: 'y', shape: [1] }],
});

describe('loadDetector', () => {
  it('refuses a missing model', async () => {
    await expect(loadDetector({ path: join(folder, 'none.onnx') })).rejects.toMatchObject({ code: 'MODEL_MISSING' });
  });
  it('refuses a model with one altered bit', async () => {
    const altered = await readFile(path);
    altered[altered.length >> 1] = (altered[altered.length >> 1] as number) ^ 1;
    const file = join(folder, 'altered.onnx');
    await writeFile(file, altered);
    await expect(loadDetector({ path: file })).rejects.toMatchObject({ code: 'MODEL_ALTERED' });
  });
  it('refuses a model that is pinned but is no detector', async () => {
    const file = join(folder, 'stranger.onnx');
    await writeFile(file, stranger);
    await expect(loadDetector({ path: file, model: { ...DEFAULT_MODEL, digest: sha256Hex(stranger) } })).rejects.toMatchObject({ code: 'MODEL_UNKNOWN_SHAPE' });
  });
  it('gives the same answer to the same picture and finds nothing in grey', async () => {
    const detector = await loadDetector({ path });
    const grey = new Uint8Array(300 * 300 * 3).fill(128);
    expect(await detector.detect(grey)).toEqual([]);
    const [first, second] = [await detector.run(toInput(grey)), await detector.run(toInput(grey))];
    expect(second.logits).toEqual(first.logits);
    await expect(detector.detect(grey.subarray(1))).rejects.toThrow(RangeError);
    await detector.close();
  });
});

describe('toInput', () => {
  it('makes planes between -1 and 1', () => {
    const rgb = new Uint8Array(300 * 300 * 3);
    rgb.set([255, 0, 51]);
    const input = toInput(rgb);
    expect([input[0], input[90_000], input[180_000]].map((v) => (v as number).toFixed(3))).toEqual(['1.000', '-1.000', '-0.600']);
  });
});

describe('modelCheck', () => {
  it('finds the default model as TensorFlow.js left it', async () => {
    const verdict = await modelCheck();
    expect(verdict).toMatchObject({ ok: true, pinned: true, digest: DEFAULT_MODEL.digest, classes: { 17: 'cat' } });
    expect(Object.values(verdict.inputs).map((one) => [one.steady, one.asReference])).toEqual(Array(3).fill([true, true]));
  });
  it.each([
    ['MODEL_MISSING', undefined],
    ['MODEL_UNKNOWN_SHAPE', stranger],
    ['MODEL_BROKEN', Buffer.from('not a model')],
  ])('says %s', async (code, bytes) => {
    const file = join(folder, `${code}.onnx`);
    if (bytes !== undefined) await writeFile(file, bytes);
    expect(await modelCheck(file)).toMatchObject({ ok: false, code, pinned: false });
  });
});
