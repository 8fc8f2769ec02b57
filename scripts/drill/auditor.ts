/**
 * Judges a recorded history by the specification alone: what was promised to clients, tenants and the owner. It shares nothing with the system it
 * judges and nothing with what hurt it; the same auditor judges drills of real processes and simulations.
 */
import { judgeAudit, judgeEpochs, judgeReceipts, judgeReleases, judgeResidency, judgeRevocations, judgeWrites, type ReleaseRow, type RevocationEnd } from './auditor-cells.ts';
import { type Index, indexHistory, type Violation, type ViolationKind } from './auditor-index.ts';
import { judgeRows, lostJobs, type Missing, replicated } from './auditor-jobs.ts';
import { clientView, type ClientView, phaseSeconds, recoveries } from './auditor-times.ts';
import type { HistoryEvent, Phase, Tier } from './history.ts';

export type { Violation, ViolationKind } from './auditor-index.ts';

/** Of each tier, as the owner's environments promise them. */
export type Bounds = Readonly<Record<Tier, { readonly rtoSeconds: number; readonly rpoSeconds: number }>>;

export interface Verdict {
  /** No violation. */
  readonly ok: boolean;
  readonly violations: readonly Violation[];
  readonly counts: { readonly acknowledged: number; readonly resubmitted: number; readonly final: number; readonly results: number; readonly usage: number };
  readonly lost: number;
  /** Two standing results or two usage rows, in one store. */
  readonly duplicated: number;
  /** Results that another one outranked: kept, never billed. */
  readonly superseded: number;
  readonly fencedWrites: { readonly accepted: number; readonly refused: number };
  readonly falseReleases: number;
  readonly falseDenials: number;
  readonly releases: readonly ReleaseRow[];
  readonly revocations: readonly RevocationEnd[];
  readonly residencyBreaches: number;
  /** Acknowledged, and absent in the cell that took over. Seconds: how long before the failure the first of them was acknowledged. */
  readonly rpo: Missing & { readonly tiers: Readonly<Record<Tier, Missing>> };
  /** Seconds. */
  readonly rtoSeconds: { readonly total?: number; readonly sync?: number; readonly async?: number } & Partial<Record<Phase, number>>;
  readonly failbackSeconds: Partial<Record<Phase, number>>;
  readonly client: ClientView;
  /** What should be the same in all cells and is not. */
  readonly drift: readonly string[];
}

export function audit(history: readonly HistoryEvent[], bounds: Bounds): Verdict {
  const index = indexHistory(history);
  const { rpo, excused } = replicated(index);
  const rows = judgeRows(index);
  const writes = judgeWrites(index);
  const releases = judgeReleases(index);
  const revocations = judgeRevocations(index);
  const { recovery, violations: late } = recoveries(index, (tier) => bounds[tier].rtoSeconds);
  const violations = [
    ...incomplete(index, history), ...lostJobs(index, excused), ...rows.violations, ...writes.violations, ...judgeEpochs(index), ...releases.violations, ...revocations.violations, ...judgeResidency(index),
    ...judgeReceipts(index), ...judgeAudit(index), ...silent(index), ...beyond(rpo, bounds), ...late,
  ];
  const countOf = (kind: ViolationKind): number => violations.filter((one) => one.kind === kind).length;
  return {
    ok: violations.length === 0,
    violations,
    counts: { acknowledged: index.acknowledged.size, resubmitted: index.of('resubmitted').length, final: index.finals.size, results: index.of('result-row').length, usage: index.of('usage-row').length },
    lost: countOf('lost'),
    duplicated: countOf('duplicated'),
    superseded: rows.superseded,
    fencedWrites: { accepted: writes.violations.length, refused: writes.refused },
    falseReleases: countOf('false-release'),
    falseDenials: countOf('false-denial'),
    releases: releases.matrix,
    revocations: revocations.ends,
    residencyBreaches: countOf('residency'),
    rpo: { jobs: rpo.sync.jobs + rpo.async.jobs, seconds: Math.max(rpo.sync.seconds, rpo.async.seconds), tiers: rpo },
    rtoSeconds: { ...(recovery.total === undefined ? {} : { total: recovery.total }), ...recovery.tiers, ...phaseSeconds(index, 'failover') },
    failbackSeconds: phaseSeconds(index, 'failback'),
    client: clientView(index),
    drift: drift(index),
  };
}

/** From half a history nothing follows, least of all that it was a good one. */
function incomplete(index: Index, history: readonly HistoryEvent[]): Violation[] {
  const found: Violation[] = [];
  const say = (what: string): void => void found.push({ kind: 'incomplete', what });
  if (index.of('run').length !== 1) say(`${index.of('run').length} beginnings`);
  if (index.of('end').length !== 1 || history.at(-1)?.kind !== 'end') say('the history does not end with its end');
  if (index.acknowledged.size === 0) say('no job was acknowledged');
  if (index.acknowledged.size > 0 && index.of('usage-row').length === 0) say('no store was read');
  const cells = new Set(index.of('cell').map(({ cell }) => cell));
  const fences = new Set(index.of('fence').map(({ fence }) => fence));
  const unknown = new Set<string>();
  for (const one of history) {
    if ('tenant' in one && !index.tenants.has(one.tenant)) unknown.add(`tenant ${one.tenant}`);
    if ('cell' in one && one.kind !== 'cell' && !cells.has(one.cell)) unknown.add(`cell ${one.cell}`);
    if (one.kind === 'stored' && !fences.has(one.fence)) unknown.add(`fence ${one.fence}`);
  }
  for (const what of unknown) say(`${what} was not introduced`);
  return found;
}

/** A standby may be done without by policy, never in silence. */
const silent = (index: Index): Violation[] => index.of('mode').filter(({ degraded, alarm }) => degraded && !alarm)
  .map(({ cell, at }) => ({ kind: 'silent-degrade', what: 'jobs of tier sync acknowledged without a standby, and no alarm', cell, at }));

const beyond = (rpo: Readonly<Record<Tier, Missing>>, bounds: Bounds): Violation[] => (['sync', 'async'] as const).flatMap((tier): Violation[] => {
  const { jobs, seconds } = rpo[tier];
  const { rpoSeconds } = bounds[tier];
  if (jobs === 0 || (rpoSeconds > 0 && seconds <= rpoSeconds)) return [];
  return [{ kind: 'rpo', what: `tier ${tier}: ${jobs} acknowledged jobs were absent where it went on, the first ${seconds} s before the failure; at most ${rpoSeconds} s` }];
});

const drift = (index: Index): string[] => [...Map.groupBy(index.of('configuration'), ({ item }) => item)].flatMap(([item, list]) => (new Set(list.map(({ digest }) => digest)).size > 1 ? [item] : []));
