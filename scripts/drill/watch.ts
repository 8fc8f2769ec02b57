/** Looks at every cell as its operator can, ten times a second for who holds whose epoch, once for how far copies are and whether a standby is done without. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CellState } from '../../workloads/gateway/cell-routes.ts';
import { admin } from '../cell/admin.ts';
import type { Fleet } from '../cell/fleet-types.ts';
import type { Recorder } from './record.ts';

const EPOCHS_MS = 100;
const CELLS_MS = 1_000;
const PATIENCE_MS = 1_000;

export interface Lag { readonly at: number; readonly from: string; readonly to: string; readonly bytes: number | undefined; readonly seconds: number | undefined }

export interface Watch {
  /** The epoch in which a cell holds a tenant, as it said last; nobody's once another one held a higher one. */
  epochOf(tenant: string, cell: string): number | undefined;
  /** Who holds a tenant's highest epoch that was ever seen. */
  holder(tenant: string): { readonly cell: string; readonly epoch: number; readonly at: number } | undefined;
  /** The last state that a cell told, and when. */
  state(cell: string): { readonly at: number; readonly state: CellState } | undefined;
  /** Epochs that a cell said it held when it was last asked, and until when, epoch ms. */
  held(cell: string): CellState['held'];
  readonly lags: readonly Lag[];
  readonly alarms: readonly { readonly at: number; readonly cell: string; readonly alarm: string }[];
  stop(): Promise<void>;
}

export function watch(fleet: Fleet, recorder: Recorder): Watch {
  const held = new Map<string, { cell: string; epoch: number; at: number }[]>();
  const until = new Map<string, CellState['held']>();
  const states = new Map<string, { at: number; state: CellState }>();
  const lags: Lag[] = [];
  const alarms: { at: number; cell: string; alarm: string }[] = [];
  const stopped = new AbortController();

  const takeHeld = (cell: string, all: CellState['held'], at: number): void => {
    until.set(cell, all);
    for (const { tenant, epoch } of all) {
      const list = held.get(tenant) ?? [];
      held.set(tenant, list);
      if (list.some((one) => one.cell === cell && one.epoch === epoch)) continue;
      list.push({ cell, epoch, at });
      recorder.write({ kind: 'held', at, tenant, cell, epoch });
    }
  };
  const take = (cell: string, state: CellState, at: number): void => {
    const before = states.get(cell)?.state;
    const degraded = state.degraded !== undefined;
    if (degraded !== (before?.degraded !== undefined)) recorder.write({ kind: 'mode', at: state.degraded?.at ?? at, cell, degraded, alarm: state.alarms.includes('SYNC_DEGRADED') });
    for (const alarm of state.alarms) if (before?.alarms.includes(alarm) !== true) alarms.push({ at, cell, alarm });
    for (const { peer, lagBytes, lagSeconds } of state.peers) lags.push({ at, from: cell, to: peer, bytes: lagBytes, seconds: lagSeconds });
    states.set(cell, { at, state });
  };
  /** What a cell says is about the time when it was asked, at the earliest. */
  const every = async (pause: number, work: () => Promise<void>): Promise<void> => {
    while (!stopped.signal.aborted) {
      const began = recorder.now();
      await Promise.race([work().catch(() => { /* down, or still starting */ }), sleep(PATIENCE_MS)]);
      await sleep(Math.max(20, pause - (recorder.now() - began)), undefined, { signal: stopped.signal }).catch(() => {});
    }
  };
  const look = (name: string): Promise<unknown> => {
    const { folder } = fleet.cell(name);
    return Promise.all([
      every(EPOCHS_MS, async () => takeHeld(name, (await admin<Pick<CellState, 'held'>>(folder, 'GET', '/epochs')).held, recorder.now())),
      // Looks into the database: not as often.
      every(CELLS_MS, async () => take(name, await admin<CellState>(folder, 'GET', '/cells'), recorder.now())),
    ]);
  };
  const loops = [...fleet.cells.keys()].map(look);

  return {
    epochOf: (tenant, cell) => held.get(tenant)?.findLast((one) => one.cell === cell)?.epoch,
    holder: (tenant) => held.get(tenant)?.reduce((a, b) => (b.epoch > a.epoch ? b : a)),
    state: (cell) => states.get(cell),
    held: (cell) => until.get(cell) ?? [],
    lags, alarms,
    async stop() {
      stopped.abort();
      await Promise.all(loops);
    },
  };
}
