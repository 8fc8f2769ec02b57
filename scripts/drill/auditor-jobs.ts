/** What became of the jobs: none lost, each counted and billed once, the result of the highest epoch stands everywhere. */
import { type Index, jobKey, outranks, secondsBetween, type Violation } from './auditor-index.ts';
import type { EventOf, Tier } from './history.ts';

export interface Missing { readonly jobs: number; readonly seconds: number }

export interface Replicated {
  /** Acknowledged jobs that the cell which took over did not have, by the tier that counted when they were acknowledged. */
  readonly rpo: Readonly<Record<Tier, Missing>>;
  /** Last acknowledgements that fell to such a gap: of tier async, they need not come back. */
  readonly excused: ReadonlySet<EventOf<'acknowledged'>>;
}

/** While a cell is degraded by policy, what it acknowledges is of tier async. */
function tierAt(index: Index): (ack: EventOf<'acknowledged'>) => Tier {
  const modes = Map.groupBy(index.of('mode'), ({ cell }) => cell);
  return ({ tenant, cell, at }) => {
    if (index.tenants.get(tenant)?.tier === 'async') return 'async';
    return modes.get(cell)?.findLast((mode) => mode.at <= at)?.degraded === true ? 'async' : 'sync';
  };
}

/** At each fence: what another cell had acknowledged before and is not in the cell that takes over. Counted once, until it is acknowledged again. */
export function replicated(index: Index): Replicated {
  const rpo = { sync: { jobs: 0, seconds: 0 }, async: { jobs: 0, seconds: 0 } };
  const excused = new Set<EventOf<'acknowledged'>>();
  const counted = new Set<EventOf<'acknowledged'>>();
  const stored = Map.groupBy(index.of('stored'), ({ fence }) => fence);
  const tierOf = tierAt(index);
  const hurts = index.of('hurt');
  for (const fence of index.of('fence')) {
    const there = new Set(stored.get(fence.fence)?.flatMap(({ tenant, jobs }) => jobs.map((job) => jobKey({ tenant, job }))));
    const lastOfSource = index.of('acknowledged').findLast(({ cell, at }) => cell === fence.source && at <= fence.at)?.at ?? 0;
    const hurt = hurts.findLast(({ cell, at }) => cell === fence.source && at <= fence.at)?.at;
    const failed = hurt === undefined ? fence.at : Math.max(hurt, lastOfSource);
    const concerned = (tenant: string): boolean => (fence.tenants === undefined ? index.tenants.get(tenant)?.cells.includes(fence.cell) === true : fence.tenants.includes(tenant));
    for (const [key, acks] of index.acknowledged) {
      // The last of several tenants moves later than the first: what the cell that takes over acknowledged by then is its own.
      const ack = acks.findLast(({ at, cell }) => at <= fence.at && cell !== fence.cell);
      if (ack === undefined || !concerned(ack.tenant) || there.has(key) || counted.has(ack)) continue;
      counted.add(ack);
      const tier = tierOf(ack);
      if (tier === 'async') excused.add(ack);
      rpo[tier] = { jobs: rpo[tier].jobs + 1, seconds: Math.max(rpo[tier].seconds, secondsBetween(ack.at, failed)) };
    }
  }
  return { rpo, excused };
}

export function lostJobs(index: Index, excused: Replicated['excused']): Violation[] {
  return [...index.acknowledged].flatMap(([key, acks]): Violation[] => {
    const last = acks.at(-1) as EventOf<'acknowledged'>;
    if (index.finals.has(key) || index.results.get(key)?.some(({ standing }) => standing) === true || excused.has(last)) return [];
    return [{ kind: 'lost', what: `acknowledged by ${last.cell} and without a final state at the end`, tenant: last.tenant, job: last.job, cell: last.cell, at: last.at }];
  });
}

const byStore = <T extends { store: string }>(rows: readonly T[]): Map<string, T[]> => Map.groupBy(rows, ({ store }) => store);
const named = ({ epoch, cell }: { epoch: number; cell: string }): string => `${cell} in epoch ${epoch}`;

/** Rows of the stores, job by job. */
export function judgeRows(index: Index): { violations: Violation[]; superseded: number } {
  const violations: Violation[] = [];
  const superseded = new Set<string>();
  const usage = Map.groupBy(index.of('usage-row'), jobKey);
  const open = Map.groupBy(index.of('job-row'), jobKey);
  for (const [key, rows] of usage) {
    for (const [store, own] of byStore(rows)) {
      if (own.length > 1) violations.push({ kind: 'duplicated', what: `${own.length} usage rows`, tenant: own[0]?.tenant ?? key, job: own[0]?.job ?? key, cell: store });
    }
  }
  for (const [key, rows] of index.results) {
    const { tenant, job } = rows[0] as EventOf<'result-row'>;
    const about = (kind: Violation['kind'], what: string, cell: string): void => void violations.push({ kind, what, tenant, job, cell });
    const stands = new Map<string, EventOf<'result-row'>>();
    for (const [store, own] of byStore(rows)) {
      const standing = own.filter((row) => row.standing);
      const best = own.reduce((a, b) => (outranks(b, a) ? b : a));
      for (const row of own) if (!row.standing) superseded.add(`${key} ${named(row)}`);
      if (standing.length > 1) about('duplicated', `${standing.length} results stand: ${standing.map(named).join(', ')}`, store);
      if (!best.standing) about('standing', `the result of ${named(best)} should stand`, store);
      if (standing.length > 0 && usage.get(key)?.some((row) => row.store === store) !== true) about('unbilled', 'a result without a usage row', store);
      if (standing[0] !== undefined) stands.set(store, standing[0]);
    }
    const first = [...stands.values()][0];
    for (const [store, row] of stands) {
      if (first !== undefined && named(row) !== named(first)) about('diverged', `the result of ${named(row)} stands here, that of ${named(first)} in ${first.store}`, store);
    }
    if (first !== undefined) {
      for (const row of open.get(key) ?? []) {
        if (!stands.has(row.store)) about('diverged', `no result here, that of ${named(first)} stands in ${first.store}`, row.store);
        else if (row.state === 'accepted' || row.state === 'leased') about('standing', `a result stands, and the job is still ${row.state}`, row.store);
      }
    }
  }
  return { violations: [...violations, ...altered(index)], superseded: superseded.size };
}

/** One cell gives a job one result in one epoch, whoever reads it wherever. */
function altered(index: Index): Violation[] {
  const seen = new Map<string, { digest: string; outcome: string }>();
  const told = new Set<string>();
  return [...index.of('result-row'), ...index.of('final')].flatMap((one): Violation[] => {
    const key = `${jobKey(one)} ${named(one)}`;
    const before = seen.get(key);
    seen.set(key, before ?? one);
    if (before === undefined || (before.digest === one.digest && before.outcome === one.outcome) || told.has(key)) return [];
    told.add(key);
    return [{ kind: 'altered', what: `two different results of ${named(one)}`, tenant: one.tenant, job: one.job, cell: one.cell }];
  });
}
