/** Phases of a failover or failback, out of what clients, watchers and the stores' own events say. Pure. */
import type { EventOf, HistoryEvent, Phase } from './history.ts';
import type { Step } from './rows.ts';

export const BY_OPERATOR = 'asked for by the operator';

export interface PhaseInput {
  readonly direction: 'failover' | 'failback';
  /** When it began: the hurt, or the operator's command. Epoch ms, as all times here. */
  readonly at: number;
  /** Until then the cell before could serve, by its leases: nobody may decide earlier. Absent where it gave them back. */
  readonly leaseEnd?: number | undefined;
  /** The cell that takes over, and what it did by its own store. */
  readonly cell: string;
  readonly steps: readonly Step[];
  /** When counters there showed themselves to their gateway. */
  readonly sessions: readonly number[];
  readonly tenants: readonly string[];
  readonly history: readonly HistoryEvent[];
  /** Later events are of something else. */
  readonly until: number;
}

/**
 * detect: until the old leases have ended by the clock. decide: until the first tenant's epoch is held here. fence: until the last one's is. promote: from the first epoch
 * to the first job accepted or leased here. attest: to the first session of a counter that counts here, nothing where they had attested ahead. release: from the first
 * lease to the first key given out. drain: from the first completed job until each job that was acknowledged by then was over.
 */
export function phasesOf(input: PhaseInput): EventOf<'phase'>[] {
  const { direction, at, cell, history, until } = input;
  const own = new Set(input.tenants);
  const within = (time: number): boolean => time >= at && time <= until;
  const held = history.filter((one): one is EventOf<'held'> => one.kind === 'held' && one.cell === cell && own.has(one.tenant) && within(one.at)).map((one) => one.at).sort((a, b) => a - b);
  const first = (...events: string[]): number | undefined => input.steps.find((step) => own.has(step.tenant) && events.includes(step.event) && step.at >= (held[0] ?? at) - 250 && step.at <= until)?.at;
  const phases: EventOf<'phase'>[] = [];
  const add = (phase: Phase, from: number | undefined, to: number | undefined, detail?: string): void => {
    if (from !== undefined && to !== undefined) phases.push({ kind: 'phase', from: Math.min(from, to), at: to, phase, direction, cell, ...(detail === undefined ? {} : { detail }) });
  };
  const detected = input.leaseEnd === undefined ? at : Math.max(at, Math.min(input.leaseEnd, held[0] ?? input.leaseEnd));
  add('detect', at, detected, input.leaseEnd === undefined ? BY_OPERATOR : 'until the lease of the cell before had ended');
  add('decide', detected, held[0], 'promises of two of three observers');
  add('fence', held[0], held.at(-1), `${new Set(held).size === 0 ? 0 : held.length} epochs`);
  add('promote', held[0], first('accepted', 'leased'));
  const leased = first('leased');
  const attested = leased === undefined ? undefined : input.sessions.some((time) => time <= (held[0] ?? 0)) ? held[0] : input.sessions.find((time) => time >= at);
  add('attest', held[0], attested, attested === held[0] ? 'counters had attested ahead' : undefined);
  add('release', leased, first('released'));
  const completed = first('completed', 'rejected', 'failed');
  add('drain', completed, drained(history, own, completed, until));
  return phases;
}

/** When the last of the jobs acknowledged before `from` was over, as clients saw it; `undefined` when some never were. */
export function drained(history: readonly HistoryEvent[], tenants: ReadonlySet<string>, from: number | undefined, until: number): number | undefined {
  if (from === undefined) return undefined;
  const open = new Set<string>();
  let last = from;
  const finals = new Map<string, number>();
  for (const one of history) {
    if (one.kind === 'acknowledged' && tenants.has(one.tenant) && one.at <= from) open.add(one.job);
    if (one.kind === 'final') finals.set(one.job, Math.min(one.at, finals.get(one.job) ?? Infinity));
  }
  for (const job of open) {
    const over = finals.get(job);
    if (over === undefined || over > until) return undefined;
    last = Math.max(last, over);
  }
  return last;
}
