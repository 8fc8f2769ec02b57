/** Histories in which all went well: cell a is hurt, b takes over, and gives back. */
import type { EventOf, HistoryEvent, Tier } from '../../scripts/drill/history.ts';

export const BOUNDS = { sync: { rtoSeconds: 60, rpoSeconds: 0 }, async: { rtoSeconds: 60, rpoSeconds: 30 } };
export const HURT = 100_000;
export const FENCED = 110_000;
export const END = 1_000_000;

export interface Shape { readonly tenants: readonly { readonly tenant: string; readonly tier: Tier }[]; /** Of each tenant: before the hurt, and after it. */ readonly before: number; readonly after: number }

export const SHAPE: Shape = { tenants: [{ tenant: 'bank', tier: 'sync' }, { tenant: 'zoo', tier: 'async' }], before: 4, after: 3 };

/** A job of `bank` or `zoo`, counted before (`j0`, `j1`, ...) or after the hurt. */
export const jobName = (number: number): string => `j${number}`;

export function clean({ tenants, before, after }: Shape = SHAPE): HistoryEvent[] {
  const out: HistoryEvent[] = [
    { kind: 'run', at: 0, scenario: 'kill', seed: 1, source: 'drill', simulatedTees: true },
    ...['a', 'b', 'c'].map((cell): HistoryEvent => ({ kind: 'cell', cell, cloud: cell, region: `${cell}-1` })),
    ...tenants.map(({ tenant, tier }): HistoryEvent => ({ kind: 'tenant', tenant, tier, cells: ['a', 'b'] })),
  ];
  let at = 1_000;
  const tick = (): number => (at += 10);
  const rows: HistoryEvent[] = [];
  const chain: HistoryEvent[] = [];
  let seq = 0;
  const run = (tenant: string, number: number, cell: string, epoch: number): void => {
    const job = jobName(number);
    const common = { tenant, job, cell, epoch };
    out.push({ kind: 'write', from: tick(), at: tick(), op: 'accept', accepted: true, ...common }, { kind: 'acknowledged', at: tick(), ...common });
    out.push({ kind: 'request', at: tick(), ms: 5, tenant, cell, op: 'submit' });
    out.push({ kind: 'write', from: tick(), at: tick(), op: 'complete', accepted: true, ...common }, { kind: 'final', at: tick(), ...common, outcome: 'completed', digest: `of ${job}` });
    seq += 1;
    for (const store of ['a', 'b']) {
      rows.push({ kind: 'job-row', store, ...common, state: 'completed' }, { kind: 'result-row', store, ...common, outcome: 'completed', digest: `of ${job}`, standing: true }, { kind: 'usage-row', store, ...common });
      chain.push({ kind: 'receipt', store, instance: 'broker', seq, prev: seq === 1 ? '' : `r${seq - 1}`, hash: `r${seq}`, tenant, job });
      chain.push({ kind: 'audit-entry', chain: 'a', store, seq, prev: seq === 1 ? '' : `e${seq - 1}`, hash: `e${seq}` });
    }
    out.push({ kind: 'audit-head', at: tick(), chain: 'a', store: 'a', size: seq, head: `e${seq}` });
  };
  for (const { tenant } of tenants) out.push({ kind: 'held', at: tick(), tenant, cell: 'a', epoch: 1 }, { kind: 'key', at: tick(), tenant, cell: 'a' }, { kind: 'key', at: tick(), tenant, cell: 'b' });
  tenants.forEach(({ tenant }, t) => {
    for (let n = 0; n < before; n += 1) run(tenant, t * (before + after) + n, 'a', 1);
  });
  at = HURT;
  out.push({ kind: 'hurt', at, cell: 'a', what: 'kill', failover: true });
  for (const [n, phase] of (['detect', 'decide', 'fence', 'promote', 'attest', 'release'] as const).entries()) out.push({ kind: 'phase', from: HURT + n * 1_000, at: HURT + (n + 1) * 1_000, phase, direction: 'failover', cell: 'b' });
  at = FENCED;
  out.push({ kind: 'fence', at, fence: 'f1', source: 'a', cell: 'b', lagSeconds: 0 });
  tenants.forEach(({ tenant }, t) => {
    out.push({ kind: 'stored', fence: 'f1', tenant, jobs: Array.from({ length: before }, (_, n) => jobName(t * (before + after) + n)) });
    out.push({ kind: 'held', at: tick(), tenant, cell: 'b', epoch: 2 });
  });
  tenants.forEach(({ tenant }, t) => {
    for (let n = before; n < before + after; n += 1) run(tenant, t * (before + after) + n, 'b', 2);
    out.push({ kind: 'write', from: tick(), at: tick(), tenant, cell: 'a', epoch: 1, op: 'accept', accepted: false, code: 'EPOCH_FENCED' });
    out.push({ kind: 'release', at: tick(), tenant, cell: 'b', requester: 'good', expected: 'released', actual: 'released' });
    for (const requester of ['unattested', 'debug', 'replayed'] as const) out.push({ kind: 'release', at: tick(), tenant, cell: 'b', requester, expected: 'denied', actual: 'denied' });
  });
  at += 1_000;
  out.push({ kind: 'healed', at, cell: 'a' }, { kind: 'phase', from: at, at: at + 500, phase: 'drain', direction: 'failback', cell: 'a' });
  for (const cell of ['a', 'b']) out.push({ kind: 'configuration', cell, item: 'policy', digest: 'p' });
  return [...out, ...rows, ...chain, { kind: 'end', at: END }];
}

/** Lines put in before the end. */
export const withLines = (history: readonly HistoryEvent[], ...lines: HistoryEvent[]): HistoryEvent[] => [...history.slice(0, -1), ...lines, history.at(-1) as HistoryEvent];

export const without = (history: readonly HistoryEvent[], drop: (one: HistoryEvent) => boolean): HistoryEvent[] => history.filter((one) => !drop(one));

/** The first line of the kind that fits, changed. */
export function changed<K extends HistoryEvent['kind']>(history: readonly HistoryEvent[], kind: K, fits: (one: EventOf<K>) => boolean, change: Partial<EventOf<K>>): HistoryEvent[] {
  const index = history.findIndex((one) => one.kind === kind && fits(one as EventOf<K>));
  if (index < 0) throw new Error(`no ${kind} to change`);
  return history.with(index, { ...history[index], ...change } as HistoryEvent);
}
