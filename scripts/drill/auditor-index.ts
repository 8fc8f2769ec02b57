/** A history, sorted for the questions of the auditor. */
import type { EventOf, HistoryEvent } from './history.ts';

export const VIOLATIONS = [
  'incomplete', 'lost', 'duplicated', 'unbilled', 'diverged', 'standing', 'altered', 'fenced-write', 'split-epoch', 'false-release', 'false-denial', 'residency',
  'receipt-chain', 'receipt-missing', 'audit-chain', 'silent-degrade', 'rpo', 'rto',
] as const;
export type ViolationKind = (typeof VIOLATIONS)[number];

export interface Violation {
  readonly kind: ViolationKind;
  readonly what: string;
  readonly tenant?: string;
  readonly job?: string;
  readonly cell?: string;
  /** Epoch ms. */
  readonly at?: number;
}

export interface Index {
  /** Events of one kind, by time where they have one, else in the order of the history. */
  readonly of: <K extends HistoryEvent['kind']>(kind: K) => readonly EventOf<K>[];
  readonly tenants: ReadonlyMap<string, EventOf<'tenant'>>;
  readonly acknowledged: ReadonlyMap<string, readonly EventOf<'acknowledged'>[]>;
  readonly finals: ReadonlyMap<string, readonly EventOf<'final'>[]>;
  readonly results: ReadonlyMap<string, readonly EventOf<'result-row'>[]>;
}

/** Name of a job among those of all tenants. */
export const jobKey = ({ tenant, job }: { readonly tenant: string; readonly job: string }): string => JSON.stringify([tenant, job]);

export const secondsBetween = (from: number, to: number): number => Math.max(0, to - from) / 1000;

/** Of two results of a job, that of the higher epoch stands; of one epoch, that of the cell later in the alphabet. */
export const outranks = (a: { epoch: number; cell: string }, b: { epoch: number; cell: string }): boolean => a.epoch > b.epoch || (a.epoch === b.epoch && a.cell > b.cell);

export function indexHistory(history: readonly HistoryEvent[]): Index {
  const kinds = new Map<string, HistoryEvent[]>();
  for (const one of history) {
    const list = kinds.get(one.kind);
    if (list === undefined) kinds.set(one.kind, [one]);
    else list.push(one);
  }
  for (const list of kinds.values()) list.sort((a, b) => ('at' in a ? a.at : 0) - ('at' in b ? b.at : 0));
  const of = <K extends HistoryEvent['kind']>(kind: K) => (kinds.get(kind) ?? []) as EventOf<K>[];
  return {
    of,
    tenants: new Map(of('tenant').map((one) => [one.tenant, one])),
    acknowledged: Map.groupBy(of('acknowledged'), jobKey),
    finals: Map.groupBy(of('final'), jobKey),
    results: Map.groupBy(of('result-row'), jobKey),
  };
}
