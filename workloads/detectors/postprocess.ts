/**
 * From a detector's raw output to boxes: decode against the anchors, sigmoid, threshold, non-maximum suppression.
 * Pure numbers, as in the TensorFlow Object Detection API (box coder `faster_rcnn` with scales 10, 10, 5, 5).
 */

/** Normalised to the input's square: left, top, width, height. */
export interface Box { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
export interface Detection extends Box { readonly score: number }

export interface RawOutput {
  /** n x 4: ty, tx, th, tw */
  readonly encodings: Float32Array;
  /** n x classes */
  readonly logits: Float32Array;
  /** n x 4: ymin, xmin, ymax, xmax */
  readonly anchors: Float32Array;
}

const CENTER_SCALE = 10;
const SIZE_SCALE = 5;

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export function decodeBox({ encodings, anchors }: Pick<RawOutput, 'encodings' | 'anchors'>, index: number): Box {
  const at = (data: Float32Array, i: number) => data[4 * index + i] as number;
  const [ymin, xmin, ymax, xmax] = [at(anchors, 0), at(anchors, 1), at(anchors, 2), at(anchors, 3)];
  const [ah, aw] = [ymax - ymin, xmax - xmin];
  const cy = (at(encodings, 0) / CENTER_SCALE) * ah + ymin + ah / 2;
  const cx = (at(encodings, 1) / CENTER_SCALE) * aw + xmin + aw / 2;
  const h = Math.exp(at(encodings, 2) / SIZE_SCALE) * ah;
  const w = Math.exp(at(encodings, 3) / SIZE_SCALE) * aw;
  return { x: cx - w / 2, y: cy - h / 2, w, h };
}

/** Intersection over union, 0 to 1; 0 for empty boxes. */
export function iou(a: Box, b: Box): number {
  const w = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const h = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  if (w <= 0 || h <= 0) return 0;
  return (w * h) / (a.w * a.h + b.w * b.h - w * h);
}

/** Keeps, from the best score downwards, what overlaps nothing kept by more than `limit`; at most `max`. */
export function suppress(found: readonly Detection[], limit: number, max: number): Detection[] {
  const kept: Detection[] = [];
  for (const one of [...found].sort((a, b) => b.score - a.score)) {
    if (kept.length >= max) break;
    if (kept.every((other) => iou(one, other) <= limit)) kept.push(one);
  }
  return kept;
}

/** The part of a box inside another. */
export function clip(box: Detection, to: Box): Detection {
  const x = Math.max(box.x, to.x);
  const y = Math.max(box.y, to.y);
  return { x, y, w: Math.max(0, Math.min(box.x + box.w, to.x + to.w) - x), h: Math.max(0, Math.min(box.y + box.h, to.y + to.h) - y), score: box.score };
}

export interface Rule { readonly classIndex: number; readonly threshold: number; readonly iou: number; readonly max: number }

/** @throws Error when the output has another shape or is not finite: nothing is ever counted from a broken run */
export function detections(raw: RawOutput, rule: Rule): Detection[] {
  const count = raw.anchors.length / 4;
  const classes = raw.logits.length / count;
  if (!Number.isInteger(classes) || rule.classIndex >= classes || raw.encodings.length !== 4 * count) throw new Error('a detector output of unknown shape');
  const found: Detection[] = [];
  for (let i = 0; i < count; i++) {
    const score = sigmoid(raw.logits[i * classes + rule.classIndex] as number);
    if (!Number.isFinite(score)) throw new Error('a detector output that is not a number');
    if (score < rule.threshold) continue;
    const box = decodeBox(raw, i);
    if (!Number.isFinite(box.x + box.y + box.w + box.h)) throw new Error('a detector output that is not a number');
    found.push({ ...box, score });
  }
  return suppress(found, rule.iou, rule.max);
}
