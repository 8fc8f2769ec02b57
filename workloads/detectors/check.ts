/** `ccc model check [FILE]`: loads a detector and runs fixed inputs through it, so that two machines can compare what they have. */
import { readFile } from 'node:fs/promises';
import { sha256Hex } from './cache.ts';
import { INPUT_SIZE, loadDetector, ModelRefused } from './engine.ts';
import { DEFAULT_MODEL, ensureDefaultModel } from './model.ts';
import type { PinnedModel } from './pinned.ts';
import type { RawOutput } from './postprocess.ts';

const LENGTH = 3 * INPUT_SIZE * INPUT_SIZE;

/** Numerical Recipes' linear congruential generator: the same noise everywhere. */
function noise(): Float32Array {
  let state = 1;
  return Float32Array.from({ length: LENGTH }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
const FIXED_INPUTS: Readonly<Record<string, () => Float32Array>> = {
  grey: () => new Float32Array(LENGTH),
  ramp: () => Float32Array.from({ length: LENGTH }, (_, i) => ((i % INPUT_SIZE) / (INPUT_SIZE - 1)) * 2 - 1),
  noise,
};

/** Of the raw output: the highest and the mean logit of the class that counts, over all anchors, and the mean of the box encodings. */
export interface InputFacts { readonly highest: number; readonly meanLogit: number; readonly meanEncoding: number }
/** What TensorFlow.js computes for the default model's weights on the same inputs; a test compares the two. */
export const REFERENCE: Readonly<Record<string, InputFacts>> = {
  grey: { highest: -6.12784, meanLogit: -11.63075, meanEncoding: -0.1729 },
  ramp: { highest: -5.86153, meanLogit: -10.42359, meanEncoding: -0.11491 },
  noise: { highest: -7.2519, meanLogit: -10.41645, meanEncoding: -0.77168 },
};
/** In logits: CPUs differ by about 1e-5. */
const TOLERANCE = 1e-3;

export function facts(raw: RawOutput, classIndex: number): InputFacts {
  const count = raw.anchors.length / 4;
  const classes = raw.logits.length / count;
  const logits = Array.from({ length: count }, (_, i) => raw.logits[i * classes + classIndex] as number);
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  return { highest: Math.max(...logits), meanLogit: mean(logits), meanEncoding: mean([...raw.encodings]) };
}

export function fixedInput(name: string): Float32Array {
  const make = FIXED_INPUTS[name];
  if (make === undefined) throw new RangeError(`no fixed input ${name}`);
  return make();
}

const closeTo = (a: InputFacts, b: InputFacts): boolean => (Object.keys(b) as (keyof InputFacts)[]).every((key) => Math.abs(a[key] - b[key]) <= TOLERANCE);

export interface ModelVerdict {
  /** The model loads, has the known inputs and outputs, gives the same finite numbers twice and, if it is the default one, the reference's. */
  readonly ok: boolean;
  readonly code?: string;
  readonly name: string;
  readonly file: string;
  readonly digest: string;
  /** True for the default model's bytes. */
  readonly pinned: boolean;
  readonly license: string;
  readonly threshold: number;
  /** Index among the logits to the class that counts. */
  readonly classes: Readonly<Record<string, string>>;
  readonly inputs: Readonly<Record<string, InputFacts & { readonly steady: boolean; readonly asReference?: boolean }>>;
}

/** Checks a file, or the default model (brought here first when it is not). */
export async function modelCheck(file?: string, onProgress: (step: string) => void = () => {}): Promise<ModelVerdict> {
  const path = file ?? (await ensureDefaultModel(onProgress));
  const digest = await readFile(path).then(sha256Hex, () => '');
  const pinned = digest === DEFAULT_MODEL.digest;
  const model: PinnedModel = pinned ? DEFAULT_MODEL : { ...DEFAULT_MODEL, name: 'operator', digest, license: 'not known' };
  const about = { name: model.name, file: path, digest, pinned, license: model.license, threshold: model.threshold, classes: { [model.classIndex]: model.className } };
  if (digest === '') return { ok: false, code: 'MODEL_MISSING', ...about, inputs: {} };
  const detector = await loadDetector({ path, model }).catch((error: unknown) => error as Error);
  if (detector instanceof Error) return { ok: false, code: detector instanceof ModelRefused ? detector.code : 'MODEL_BROKEN', ...about, inputs: {} };
  try {
    const inputs: Record<string, ModelVerdict['inputs'][string]> = {};
    for (const name of Object.keys(FIXED_INPUTS)) {
      onProgress(`fixed input ${name}`);
      const [first, second] = [facts(await detector.run(fixedInput(name)), model.classIndex), facts(await detector.run(fixedInput(name)), model.classIndex)];
      const steady = Object.values(first).every(Number.isFinite) && closeTo(first, second);
      inputs[name] = { ...first, steady, ...(pinned ? { asReference: closeTo(first, REFERENCE[name] as InputFacts) } : {}) };
    }
    const failed = Object.values(inputs).some((one) => !one.steady || one.asReference === false);
    return { ok: !failed, ...(failed ? { code: 'MODEL_DIFFERS' } : {}), ...about, inputs };
  } catch {
    return { ok: false, code: 'MODEL_BROKEN', ...about, inputs: {} };
  } finally {
    await detector.close();
  }
}
