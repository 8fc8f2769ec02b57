import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clip, type Detection, decodeBox, detections, iou, type RawOutput, sigmoid, suppress } from '../../workloads/detectors/postprocess.ts';

const unit = fc.double({ min: 0, max: 1, noNaN: true });
const side = fc.double({ min: 0.01, max: 1, noNaN: true });
const box = fc.record({ x: unit, y: unit, w: side, h: side });
const detection: fc.Arbitrary<Detection> = fc.record({ x: unit, y: unit, w: side, h: side, score: unit });
const rule = { classIndex: 1, threshold: 0.5, iou: 0.5, max: 10 };

/** One anchor at the middle of the square, half its size, per logit given. */
function raw(logits: readonly number[], encoding: readonly number[] = [0, 0, 0, 0]): RawOutput {
  return {
    encodings: Float32Array.from(logits.flatMap(() => encoding)),
    logits: Float32Array.from(logits.flatMap((logit) => [9, logit])),
    anchors: Float32Array.from(logits.flatMap(() => [0.25, 0.25, 0.75, 0.75])),
  };
}

describe('decodeBox', () => {
  it('gives the anchor for zeros', () => {
    expect(decodeBox(raw([0]), 0)).toEqual({ x: 0.25, y: 0.25, w: 0.5, h: 0.5 });
  });
  it('moves by a tenth of the anchor and scales by e to the fifth part: ty, tx, th, tw', () => {
    const moved = decodeBox(raw([0], [10, -10, 5 * Math.LN2, 0]), 0);
    expect(moved.h).toBeCloseTo(1);
    expect(moved.w).toBeCloseTo(0.5);
    expect(moved.y + moved.h / 2).toBeCloseTo(1);
    expect(moved.x + moved.w / 2).toBeCloseTo(0);
  });
});

describe('iou', () => {
  it('is symmetric, between 0 and 1, and 1 for itself', () => {
    fc.assert(fc.property(box, box, (a, b) => {
      expect(iou(a, b)).toBeCloseTo(iou(b, a), 12);
      expect(iou(a, b)).toBeGreaterThanOrEqual(0);
      expect(iou(a, b)).toBeLessThanOrEqual(1 + 1e-9);
      expect(iou(a, a)).toBeCloseTo(1, 9);
    }));
  });
  it('is 0 for boxes that only touch and 1/3 for two that share half', () => {
    expect(iou({ x: 0, y: 0, w: 1, h: 1 }, { x: 1, y: 0, w: 1, h: 1 })).toBe(0);
    expect(iou({ x: 0, y: 0, w: 2, h: 1 }, { x: 1, y: 0, w: 2, h: 1 })).toBeCloseTo(1 / 3);
  });
});

describe('suppress', () => {
  it('keeps the best, drops what overlaps it, and nothing that it keeps overlaps', () => {
    fc.assert(fc.property(fc.array(detection, { maxLength: 30 }), (found) => {
      const kept = suppress(found, 0.5, 100);
      expect(kept.map((k) => k.score)).toEqual([...kept].sort((a, b) => b.score - a.score).map((k) => k.score));
      for (const [i, a] of kept.entries()) for (const b of kept.slice(i + 1)) expect(iou(a, b)).toBeLessThanOrEqual(0.5);
      for (const one of found) expect(kept.includes(one) || kept.some((k) => k.score >= one.score && iou(k, one) > 0.5)).toBe(true);
    }));
  });
  it('does not depend on the order of its input', () => {
    fc.assert(fc.property(fc.uniqueArray(detection, { selector: (d) => d.score, maxLength: 20 }), (found) => {
      expect(suppress([...found].reverse(), 0.5, 100)).toEqual(suppress(found, 0.5, 100));
    }));
  });
  it('keeps at most as many as it is told', () => {
    const apart = Array.from({ length: 5 }, (_, i) => ({ x: i, y: 0, w: 0.5, h: 0.5, score: i / 5 }));
    expect(suppress(apart, 0.5, 2).map((k) => k.x)).toEqual([4, 3]);
  });
});

describe('clip', () => {
  it('stays inside', () => {
    fc.assert(fc.property(detection, box, (inner, to) => {
      const cut = clip(inner, to);
      expect(cut.w).toBeGreaterThanOrEqual(0);
      expect(cut.h).toBeGreaterThanOrEqual(0);
      if (cut.w > 0) expect(cut.x + cut.w).toBeLessThanOrEqual(to.x + to.w + 1e-9);
      expect(cut.x).toBeGreaterThanOrEqual(to.x);
    }));
  });
});

describe('detections', () => {
  it('takes the class that it is told, at the threshold and above', () => {
    const [at, below] = [0, -0.001];
    expect(sigmoid(at)).toBe(0.5);
    expect(detections(raw([at]), rule)).toHaveLength(1);
    expect(detections(raw([below]), rule)).toHaveLength(0);
    expect(detections(raw([below]), { ...rule, classIndex: 0 })).toHaveLength(1);
  });
  it('counts overlapping boxes once', () => {
    expect(detections(raw([3, 2, 1]), rule).map((d) => d.score)).toEqual([sigmoid(3)]);
  });
  it('refuses what is not a number and what has another shape', () => {
    expect(() => detections(raw([Number.NaN]), rule)).toThrow(/not a number/);
    expect(() => detections(raw([3], [Number.POSITIVE_INFINITY, 0, 0, 0]), rule)).toThrow(/not a number/);
    expect(() => detections(raw([3]), { ...rule, classIndex: 2 })).toThrow(/shape/);
    expect(() => detections({ ...raw([3]), encodings: new Float32Array(8) }, rule)).toThrow(/shape/);
  });
});
