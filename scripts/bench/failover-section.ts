/** Figures of failovers, for docs/figures.md. */
import { TAKE_OVER_PHASES } from '../../workloads/gateway/phases.ts';
import type { AcceptSeries } from './failover-accept.ts';
import type { Round } from './failover.ts';
import { load } from './machine.ts';
import { atMost, ms, type Goal, type Section } from './section.ts';
import { spread } from './stats.ts';

const PHASES = TAKE_OVER_PHASES.filter((phase) => phase !== 'drain');
const GOAL_SECONDS = 5;
const of = (value: number | undefined): string => (value === undefined ? 'not seen' : value.toFixed(2));

/** Each step by itself: what it took after the one before. */
export function steps(round: Round): Readonly<Record<string, number>> {
  const out: Record<string, number> = {};
  let before = 0;
  for (const phase of PHASES) {
    const at = round.phases[phase];
    if (at === undefined) continue;
    out[phase] = at - before;
    before = at;
  }
  return { ...out, 'first completed': round.firstDone - before };
}

/** Whether a step takes longer with more jobs: of the smallest and the largest backlog, the quickest round of each, beyond what is noise. */
export function growth(rounds: readonly Round[], noise = 1): Goal[] {
  const sizes = rounds.map(({ queued }) => queued);
  const [small, large] = [Math.min(...sizes), Math.max(...sizes)];
  if (small === large) return [];
  const best = (size: number, step: string): number => Math.min(...rounds.filter(({ queued }) => queued === size).map((one) => steps(one)[step] ?? Infinity));
  return [...PHASES, 'first completed'].flatMap((step) => {
    const [a, b] = [best(small, step), best(large, step)];
    return Number.isFinite(a) && Number.isFinite(b) ? [atMost(`${step}, ${large} jobs: seconds more than with ${small}`, b - a, noise)] : [];
  });
}

export function failoverSection(rounds: readonly Round[], accepted: readonly AcceptSeries[], about: { readonly detector: string; readonly leaseSeconds: number }): Section {
  const first = spread(rounds.map(({ firstDone }) => firstDone));
  return {
    title: 'Failover, and the accept path',
    about: [
      `Three cells as real processes on this machine, simulated TEEs, epochs of ${about.leaseSeconds} s; kill -9 of all that one cell has, its database too, while its counters work through a backlog of one tenant of tier async. Phases are`,
      'seconds after the kill, as the gateway that takes over notes them: by far the most is the lease that must end. Counted by the detector `' + about.detector + '`, which looks up digests and not at pictures, so throughput is that of everything else.',
      'Rows are put into the ledger by its own calls, ciphertext into both stores: each a message of its own to the tenant\'s key. Then single jobs, one at a time, until they are acknowledged, in milliseconds.',
    ],
    head: ['jobs queued', 'waiting at the kill', 'missing at the fence', ...PHASES.map((phase) => `${phase}, s`), 'first completed, s', 'jobs/s before', 'jobs/s after', 'drained, s'],
    rows: rounds.map((one) => [
      String(one.queued), String(one.waiting), String(one.missing), ...PHASES.map((phase) => of(one.phases[phase])), of(one.firstDone), one.before.toFixed(1), one.after.toFixed(1), one.drained === undefined ? `${one.left} left when it was stopped` : of(one.drained),
    ]),
    more: { head: ['accepted by', 'jobs', 'least', 'median', 'p99'], rows: accepted.map(({ what, spread: s }) => [what, String(s.n), ms(s.min), ms(s.median), ms(s.p99)]) },
    goals: [atMost('from kill to first completed job, median, s', first.median, GOAL_SECONDS), atMost('acknowledged jobs missing where it went on', Math.max(...rounds.map(({ missing }) => missing)), 0), ...growth(rounds)],
    load: load(),
  };
}
