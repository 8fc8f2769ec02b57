import { describe, expect, it } from 'vitest';
import { limit } from '../../scripts/bench/pipeline.ts';

describe('the most that a cell can reach of bare counting loops', () => {
  it.each([
    // cores, counters, ms to count, ms a job in all
    [2, 1, 25, 50, 1], // one core counts, the other does the rest
    [2, 1, 25, 60, 5 / 6], // the rest is more than a core
    [2, 2, 25, 50, 1 / 2], // all of the rest is taken from counting
    [2, 2, 27, 30, 9 / 10], // a ninth of counting around a job
    [4, 2, 25, 50, 1],
    [1, 2, 25, 50, 1 / 2], // bare loops that share a core
  ])('%d cores, %d counters, %d ms to count, %d ms a job: %d', (cores, counters, count, job, most) => {
    expect(limit(cores, counters, count, job)).toBeCloseTo(most, 10);
  });
});
