import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arrivals } from '../../scripts/drill/arrivals.ts';

const options = { seed: 7, rate: 20, seconds: 100, tenants: ['a', 'b', 'c'], pictures: 4 };

describe('arrivals', () => {
  it('the same seed gives the same load, another one another', () => {
    expect(arrivals(options)).toEqual(arrivals(options));
    expect(arrivals({ ...options, seed: 8 })).not.toEqual(arrivals(options));
  });

  it('are in order, within the time, of every tenant and picture, and as many as the rate says', () => {
    fc.assert(fc.property(fc.integer(), (seed) => {
      const all = arrivals({ ...options, seed });
      expect(all.every(({ at }, i) => at >= (all[i - 1]?.at ?? 0) && at < 100_000)).toBe(true);
      expect([new Set(all.map((a) => a.tenant)).size, new Set(all.map((a) => a.picture)).size]).toEqual([3, 4]);
      // 2,000 expected, a standard deviation of 45.
      expect(Math.abs(all.length - 2_000)).toBeLessThan(300);
    }), { numRuns: 50 });
  });

  it('gaps are spread as those of independent clients: about 37 % are longer than the mean', () => {
    const all = arrivals({ ...options, seconds: 1_000 });
    const gaps = all.map(({ at }, i) => at - (all[i - 1]?.at ?? 0));
    const longer = gaps.filter((gap) => gap > 50).length / gaps.length;
    expect(longer).toBeGreaterThan(0.34);
    expect(longer).toBeLessThan(0.4);
  });

  it.each([{ rate: 0 }, { rate: Number.NaN }, { tenants: [] }, { pictures: 0 }])('a load of nothing is refused: %o', (change) => {
    expect(() => arrivals({ ...options, ...change })).toThrow(RangeError);
  });
});
