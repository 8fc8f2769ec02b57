/** What the figures of a failover are made of. That it runs at all is seen by running it: it takes three cells. */
import { describe, expect, it } from 'vitest';
import type { Round } from '../../scripts/bench/failover.ts';
import { failoverSection, growth, steps } from '../../scripts/bench/failover-section.ts';

const round = (queued: number, more: Partial<Round> = {}): Round => ({
  queued, waiting: queued, missing: 0, phases: { detect: 3, decide: 3.1, fence: 3.3, promote: 3.4, attest: 3.9, release: 4 }, firstDone: 4.2, before: 20, after: 25, drained: 60, left: 0, ...more,
});

describe('failover figures', () => {
  it('each step is what it took after the one before, phases that were not seen left out', () => {
    const { attest: _, ...phases } = round(1).phases;
    expect(Object.entries(steps(round(1, { phases }))).map(([step, s]) => [step, Number(s.toFixed(1))])).toEqual([['detect', 3], ['decide', 0.1], ['fence', 0.2], ['promote', 0.1], ['release', 0.6], ['first completed', 0.2]]);
  });

  it('a step that grows with the backlog misses its goal, the quickest round of a size counting', () => {
    const slow = round(10_000, { phases: { ...round(1).phases, promote: 6, attest: 6.5, release: 6.6 }, firstDone: 6.8 });
    expect(growth([round(1_000), slow]).filter(({ holds }) => !holds).map(({ what }) => what)).toEqual(['promote, 10000 jobs: seconds more than with 1000']);
    expect(growth([round(1_000), slow, round(10_000)]).every(({ holds }) => holds)).toBe(true);
    expect(growth([round(1_000), round(1_000)])).toEqual([]);
  });

  it('the report names the detector, misses its goals for a slow recovery and for a job that is missing, and says what was not drained', () => {
    const s = failoverSection([round(1_000, { firstDone: 5.5, missing: 1, drained: undefined, left: 7 })], [{ what: 'tier sync', spread: { n: 3, min: 1, median: 2, p99: 3 } }], { detector: 'fixture abc', leaseSeconds: 3 });
    expect(s.about.join()).toContain('`fixture abc`');
    expect(s.goals.map(({ holds }) => holds)).toEqual([false, false]);
    expect(s.rows[0]?.at(-1)).toBe('7 left when it was stopped');
    expect(s.rows[0]).toHaveLength(s.head.length);
    expect(s.more?.rows).toEqual([['tier sync', '3', '1.00', '2.00', '3.00']]);
  });
});
