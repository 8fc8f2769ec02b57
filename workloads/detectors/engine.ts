/**
 * Runs a pinned ONNX detector with onnxruntime-node on the CPU, one thread. The file's digest is compared before the
 * runtime sees a byte of it: a missing or altered model refuses to start.
 */
import { readFile } from 'node:fs/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { sha256Hex } from './cache.ts';
import { DEFAULT_MODEL, type PinnedModel } from './pinned.ts';
import { type Detection, detections, type RawOutput } from './postprocess.ts';

export const INPUT_SIZE = 300;
const PIXELS = INPUT_SIZE * INPUT_SIZE;
const IOU_LIMIT = 0.5;
const MAX_BOXES = 100;

export class ModelRefused extends Error {
  readonly code: 'MODEL_MISSING' | 'MODEL_ALTERED' | 'MODEL_UNKNOWN_SHAPE';
  constructor(code: ModelRefused['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ModelRefused';
    this.code = code;
  }
}

export interface Detector {
  readonly model: PinnedModel;
  /** `rgb`: {@link INPUT_SIZE} x INPUT_SIZE pixels of R, G, B. Boxes are normalised to that square, best first. */
  detect(rgb: Uint8Array): Promise<Detection[]>;
  /** The bare call of the runtime on a prepared input [1, 3, 300, 300]: what tests compare and benchmarks measure against. */
  run(input: Float32Array): Promise<RawOutput>;
  close(): Promise<void>;
}

/** RGB bytes to the network's input: planes of value / 127.5 - 1. */
export function toInput(rgb: Uint8Array): Float32Array {
  if (rgb.length !== 3 * PIXELS) throw new RangeError(`a picture of ${rgb.length} bytes instead of ${3 * PIXELS}`);
  const out = new Float32Array(3 * PIXELS);
  for (let i = 0, from = 0; i < PIXELS; i++, from += 3) {
    out[i] = (rgb[from] as number) / 127.5 - 1;
    out[i + PIXELS] = (rgb[from + 1] as number) / 127.5 - 1;
    out[i + 2 * PIXELS] = (rgb[from + 2] as number) / 127.5 - 1;
  }
  return out;
}

async function readModel(path: string, model: PinnedModel): Promise<Uint8Array> {
  const file = await readFile(path).catch((cause: unknown) => {
    throw new ModelRefused('MODEL_MISSING', `no model ${model.name} at ${path}`, { cause });
  });
  const digest = sha256Hex(file);
  if (digest !== model.digest) throw new ModelRefused('MODEL_ALTERED', `the file of model ${model.name} is ${digest}, pinned is ${model.digest}`);
  return file;
}

/** @throws ModelRefused */
export async function loadDetector({ path, model = DEFAULT_MODEL }: { path: string; model?: PinnedModel }): Promise<Detector> {
  const session = await InferenceSession.create(await readModel(path, model), {
    executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all', logSeverityLevel: 4,
  });
  if (session.inputNames.join() !== 'image' || !['encodings', 'logits', 'anchors'].every((name) => session.outputNames.includes(name))) {
    throw new ModelRefused('MODEL_UNKNOWN_SHAPE', `model ${model.name} has inputs ${session.inputNames} and outputs ${session.outputNames}`);
  }
  const rule = { classIndex: model.classIndex, threshold: model.threshold, iou: IOU_LIMIT, max: MAX_BOXES };
  async function run(input: Float32Array): Promise<RawOutput> {
    const result = await session.run({ image: new Tensor('float32', input, [1, 3, INPUT_SIZE, INPUT_SIZE]) });
    const floats = (name: string): Float32Array => {
      const data = result[name]?.data;
      if (!(data instanceof Float32Array)) throw new Error(`no output ${name}`);
      return data;
    };
    return { encodings: floats('encodings'), logits: floats('logits'), anchors: floats('anchors') };
  }
  return {
    model,
    run,
    async detect(rgb) {
      const input = toInput(rgb);
      try {
        return detections(await run(input), rule);
      } finally {
        input.fill(0);
      }
    },
    close: () => session.release(),
  };
}
