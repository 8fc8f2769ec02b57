/**
 * An observer, as a pure function: rows of the tenants asked about, a request, the time -> rows to keep, an answer. Whoever calls it stores the rows
 * durably before the answer leaves. Nothing is remembered anywhere else, so a restarted observer keeps its promises.
 *
 * - An epoch that was promised to one cell is never promised to another, and no promise is made below the highest.
 * - Another cell gets a higher epoch, one clock bound after the last promise to the one before has ended.
 * - A cell's processes each have promises of their own; giving back ends only those of the process that gives back.
 * - Once a holder named its heirs, nobody else gets a higher epoch: an heir has every job that was acknowledged. Each process names for itself, for each
 *   acknowledges for itself; who is to take over is named by all. What a process named counts on when it has ended, for its jobs are still there, until
 *   another cell names, which has had a lease and so was an heir; or until another process of the cell has looked again since.
 */
import { type EpochPromise, type EpochRules, FORCED_STEP, ms, type Naming, signedTime } from '../protocol/epoch.ts';
import type { EpochDenial, EpochView } from '../protocol/observer.ts';

/** What an observer keeps of one tenant. JSON. */
export interface Row {
  readonly tenant: string;
  /** The highest epoch promised, and to whom. */
  readonly epoch: number;
  readonly cell: string;
  /** By process of that cell. */
  readonly instances: Readonly<Record<string, Held>>;
  /** Given back for this cell. */
  readonly to?: string | undefined;
  /** The cell that named last, and what each of its processes did. Not that of `cell` while that one has not named: it may be a candidate that comes to nothing. */
  readonly named?: { readonly cell: string; readonly by: Readonly<Record<string, NamedBy>> } | undefined;
  /** The latest time at which this row changed, epoch ms. */
  readonly at: number;
}
export interface Held {
  readonly epoch: number;
  /** When the last promise ends, epoch ms of this observer's clock. */
  readonly exp: number;
  /** Given back: never renewed by this process under this epoch. */
  readonly released: boolean;
}

/** `exp`: when the last promise to that process ends, as above. */
export interface NamedBy extends Naming { readonly exp: number }

/** Authenticated: the caller checked the proof. */
export interface Asked {
  readonly cell: string;
  readonly instance: string;
  readonly ask: readonly { readonly tenant: string; readonly epoch: number; readonly heirs?: (Naming & { readonly since: number }) | undefined }[];
  readonly release: readonly { readonly tenant: string; readonly epoch: number; readonly to?: string | undefined; readonly heirs?: Naming | undefined }[];
  readonly look: readonly string[];
}

export interface Answered {
  readonly promises: readonly EpochPromise[];
  readonly denied: readonly (EpochView & { readonly code: EpochDenial })[];
  readonly views: readonly EpochView[];
}

export interface ObserverConfig {
  /** Its own cell. */
  readonly name: string;
  readonly rules: Pick<EpochRules, 'leaseMs' | 'clockBoundMs' | 'order'>;
}

/** Processes of one cell with promises for one tenant. */
const MAX_INSTANCES = 32;
/** In one request an epoch rises by no more: far above a failover forced many times while this observer was away, far below what would use the numbers up. */
export const MAX_STEP = 100 * FORCED_STEP;

/** @param now epoch ms. @returns `changed`: rows to keep before the answer leaves. */
export function observe(config: ObserverConfig, rows: ReadonlyMap<string, Row>, request: Asked, now: number): { changed: ReadonlyMap<string, Row>; answer: Answered } {
  const changed = new Map<string, Row>();
  const rowOf = (tenant: string): Row | undefined => changed.get(tenant) ?? rows.get(tenant);
  const view = (tenant: string): EpochView => viewOf(tenant, rowOf(tenant), config, now);

  for (const { tenant, epoch, to, heirs } of request.release) {
    const row = rowOf(tenant);
    const held = row?.instances[request.instance];
    if (row === undefined || row.cell !== request.cell || held?.epoch !== epoch) continue;
    const exp = held.released ? held.exp : Math.min(held.exp, now - config.rules.clockBoundMs);
    changed.set(tenant, { ...row, instances: { ...row.instances, [request.instance]: { epoch, exp, released: true } }, to, named: namedNow(row, request, heirs, exp, now), at: Math.max(now, row.at) });
  }

  const promises: EpochPromise[] = [];
  const denied: Answered['denied'][number][] = [];
  for (const { tenant, epoch, heirs } of request.ask) {
    const row = rowOf(tenant);
    const code = denial(config, row, request, { tenant, epoch, heirs }, now) ?? (epoch - (rows.get(tenant)?.epoch ?? epoch) > MAX_STEP ? 'EPOCH_STEP' : undefined);
    if (code !== undefined) {
      denied.push({ ...view(tenant), code });
      continue;
    }
    const exp = now + config.rules.leaseMs;
    const same = row?.cell === request.cell ? row : undefined;
    const others = same === undefined ? {} : running(same, request.instance, now - config.rules.clockBoundMs);
    const own = same?.instances[request.instance];
    // An earlier promise may last longer: the owner shortened the lease, or this clock went back a little.
    const last = own === undefined || own.released ? exp : Math.max(exp, own.exp);
    const named = namedNow(row, request, heirs, last, now);
    const told: Naming | undefined = named === undefined ? undefined : { n: named.cell === request.cell ? (named.by[request.instance]?.n ?? 0) : 0, cells: heirsOf(named) };
    promises.push({ tenant, cell: request.cell, epoch, instance: request.instance, observer: config.name, iat: signedTime(now), exp: signedTime(exp), ...(told === undefined ? {} : { heirs: told }) });
    changed.set(tenant, { tenant, epoch, cell: request.cell, instances: { ...others, [request.instance]: { epoch, exp: last, released: false } }, ...(named === undefined ? {} : { named }), at: Math.max(now, row?.at ?? now) });
  }
  return { changed, answer: { promises, denied, views: request.look.map(view) } };
}

/** Why not, if not. */
function denial(config: ObserverConfig, row: Row | undefined, { cell, instance }: Asked, { tenant, epoch, heirs }: Asked['ask'][number], now: number): EpochDenial | undefined {
  if (!config.rules.order(tenant).includes(cell)) return 'EPOCH_CELL';
  if (row === undefined) return undefined;
  // A clock that went back by more than the bound cannot tell whether a promise has ended.
  if (now < row.at - config.rules.clockBoundMs) return 'EPOCH_CLOCK';
  if (row.cell === cell) {
    if (epoch < row.epoch) return 'EPOCH_LOW';
    const own = row.instances[instance];
    if (own?.released === true && epoch <= own.epoch) return 'EPOCH_LOW';
    return own === undefined && Object.keys(running(row, instance, now - config.rules.clockBoundMs)).length >= MAX_INSTANCES ? 'EPOCH_INSTANCES' : undefined;
  }
  if (endOf(row) + config.rules.clockBoundMs > now) return 'EPOCH_HELD';
  if (epoch <= row.epoch) return 'EPOCH_LOW';
  // Who names has had a lease of this epoch, from observers that know better, or the owner's grant.
  return heirs !== undefined || row.named === undefined || mayInherit(row.named, cell) ? undefined : 'EPOCH_HEIR';
}

type Named = NonNullable<Row['named']>;

/** @param heirs as this request names them @param exp of its promise */
function namedNow(row: Row | undefined, { cell, instance }: Asked, heirs: (Naming & { readonly since?: number }) | undefined, exp: number, now: number): Named | undefined {
  const before = row?.named;
  const same = before?.cell === cell ? before.by : {};
  const own = same[instance];
  if (heirs === undefined) return own === undefined ? before : { cell, by: { ...same, [instance]: { ...own, exp: Math.max(own.exp, exp) } } };
  const late = own !== undefined && own.n > heirs.n;
  const { n, cells } = late ? own : heirs;
  const others = Object.entries(same).filter(([name, one]) => name !== instance && (late || one.exp >= ms(heirs.since ?? 0)));
  // Of those that have ended and named the same, the last stands for all.
  const kept = others.filter(([name, one]) => one.exp > now || !others.some(([other, { cells: theirs, exp: end }]) => other !== name && theirs.join() === one.cells.join() && (end > one.exp || (end === one.exp && other > name))));
  return { cell, by: { ...Object.fromEntries(kept), [instance]: { n, cells: [...cells], exp } } };
}

const mayInherit = (named: Named, cell: string): boolean => cell === named.cell || Object.values(named.by).every(({ cells }) => cells.includes(cell));
const heirsOf = ({ by }: Named): string[] => {
  const [first, ...others] = Object.values(by);
  return (first?.cells ?? []).filter((cell) => others.every(({ cells }) => cells.includes(cell)));
};

/** Of the other processes of the cell: what has not ended, and what was given back under the epoch of now. */
const running = (row: Row, instance: string, now: number): Record<string, Held> =>
  Object.fromEntries(Object.entries(row.instances).filter(([name, { exp, released, epoch }]) => name !== instance && (exp > now || (released && epoch === row.epoch))));

const endOf = (row: Row): number => Math.max(...Object.values(row.instances).map(({ exp }) => exp));

function viewOf(tenant: string, row: Row | undefined, { rules: { clockBoundMs } }: ObserverConfig, now: number): EpochView {
  if (row === undefined) return { tenant, epoch: 0, leftMs: 0, released: false };
  const released = Object.values(row.instances).every((held) => held.released);
  return { tenant, epoch: row.epoch, cell: row.cell, leftMs: Math.max(0, endOf(row) + clockBoundMs - now), released, ...(row.to === undefined ? {} : { to: row.to }), ...(row.named === undefined ? {} : { heirs: [row.named.cell, ...heirsOf(row.named)] }) };
}
