/** How long it took, and what clients saw of it. */
import { type Index, jobKey, secondsBetween, type Violation } from './auditor-index.ts';
import { type EventOf, type Phase, PHASES, type Tier } from './history.ts';

export interface Recovery {
  /** From the first hurt to the first job completed where it should be. Absent: nobody was hurt, or nothing was ever completed. */
  readonly total?: number;
  readonly tiers: Readonly<Partial<Record<Tier, number>>>;
}

/** The worst of the hurts counts. Only tenants whose cell was hurt, and only when they had something to wait for. */
export function recoveries(index: Index, bound: (tier: Tier) => number): { recovery: Recovery; violations: Violation[] } {
  const violations: Violation[] = [];
  const tiers: Partial<Record<Tier, number>> = {};
  let total: number | undefined;
  const completions: readonly { readonly tenant: string; readonly cell: string; readonly at: number }[] =
    [...index.of('final'), ...index.of('write').filter(({ op, accepted }) => op === 'complete' && accepted)].sort((a, b) => a.at - b.at);
  for (const hurt of index.of('hurt')) {
    const affected = affectedBy(index, hurt);
    let first: number | undefined;
    for (const tier of ['sync', 'async'] as const) {
      const tenants = new Set(affected.filter((tenant) => index.tenants.get(tenant)?.tier === tier));
      if (tenants.size === 0) continue;
      const back = completions.find(({ tenant, cell, at }) => at > hurt.at && tenants.has(tenant) && (!hurt.failover || cell !== hurt.cell));
      const took = back === undefined ? undefined : secondsBetween(hurt.at, back.at);
      if (took !== undefined) {
        tiers[tier] = Math.max(took, tiers[tier] ?? 0);
        first = Math.min(took, first ?? took);
      }
      if (took === undefined || took > bound(tier)) {
        violations.push({ kind: 'rto', what: `tier ${tier}: ${took === undefined ? 'nothing was completed' : `${took} s to the first completed job`} after ${hurt.what}; at most ${bound(tier)} s`, cell: hurt.cell, at: hurt.at });
      }
    }
    if (first !== undefined) total = Math.max(first, total ?? 0);
  }
  return { recovery: { ...(total === undefined ? {} : { total }), tiers }, violations };
}

function affectedBy(index: Index, hurt: EventOf<'hurt'>): string[] {
  return [...index.tenants.keys()].filter((tenant) => {
    const mine = (one: { tenant: string }): boolean => one.tenant === tenant;
    const acks = index.of('acknowledged').filter(mine);
    const home = index.of('held').findLast((one) => mine(one) && one.at <= hurt.at)?.cell ?? acks.findLast(({ at }) => at <= hurt.at)?.cell;
    if (home !== hurt.cell) return false;
    return acks.some((ack) => ack.at > hurt.at || !(index.finals.get(jobKey(ack))?.some(({ at }) => at <= hurt.at) ?? false)) || index.of('resubmitted').some((one) => mine(one) && one.at > hurt.at);
  });
}

/** From the first beginning of a phase to its last end, seconds. */
export function phaseSeconds(index: Index, direction: 'failover' | 'failback'): Partial<Record<Phase, number>> {
  const all = index.of('phase').filter((one) => one.direction === direction);
  return Object.fromEntries(PHASES.flatMap((phase) => {
    const own = all.filter((one) => one.phase === phase);
    if (own.length === 0) return [];
    const [from, to] = [own.reduce((min, one) => Math.min(min, one.from), Infinity), own.reduce((max, one) => Math.max(max, one.at), 0)];
    return [[phase, secondsBetween(from, to)]];
  }));
}

export interface ClientView {
  readonly requests: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Milliseconds, of the requests that succeeded. */
  readonly p50?: number;
  readonly p95?: number;
  readonly p99?: number;
  /** Between two successes of one tenant, the longest of all tenants. */
  readonly longestGapSeconds?: number;
}

/** Nearest rank. */
const percentile = (sorted: readonly number[], p: number): number => sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;

export function clientView(index: Index): ClientView {
  const requests = index.of('request');
  const errors: Record<string, number> = {};
  const good: number[] = [];
  const lastGood = new Map<string, number>();
  let longest: number | undefined;
  for (const { code, ms, tenant, at } of requests) {
    if (code !== undefined) {
      errors[code] = (errors[code] ?? 0) + 1;
      continue;
    }
    good.push(ms);
    const last = lastGood.get(tenant);
    if (last !== undefined) longest = Math.max(longest ?? 0, secondsBetween(last, at));
    lastGood.set(tenant, at);
  }
  good.sort((a, b) => a - b);
  return {
    requests: requests.length, errors, ...(good.length === 0 ? {} : { p50: percentile(good, 0.5), p95: percentile(good, 0.95), p99: percentile(good, 0.99) }),
    ...(longest === undefined ? {} : { longestGapSeconds: longest }),
  };
}
