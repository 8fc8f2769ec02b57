/**
 * Which cell a client asks next, as pure functions: state, what a cell answered, time -> state; state, time -> cell. No I/O, so that the simulation runs the same.
 *
 * It stays with a cell as long as that answers. A cell that does not is left alone for a while that doubles; the next of the tenant's order is asked
 * meanwhile, and a cell that another one names goes first.
 */
import type { CellDirectory } from '../protocol/owner.ts';

export interface CellsState {
  /** First choice first. */
  readonly order: readonly string[];
  /** Asked first as long as nothing is known against it. */
  readonly preferred: string;
  /** Failures in a row, and when each may be asked again, epoch ms. */
  readonly down: Readonly<Record<string, { readonly failures: number; readonly until: number }>>;
}

/** `ok`: it answered for the tenant. `down`: not now. `elsewhere`: another cell has the tenant, as far as this one knows. */
export type CellOutcome = { readonly kind: 'ok' } | { readonly kind: 'down'; readonly retryAfterMs?: number | undefined } | { readonly kind: 'elsewhere'; readonly cell: string };

export const FIRST_PAUSE_MS = 100;
export const LONGEST_PAUSE_MS = 2_000;

export function cellsOf(directory: CellDirectory, tenant: string): readonly { readonly name: string; readonly url: string }[] {
  const entry = directory.tenants?.find((one) => one.tenant === tenant) ?? directory.tenants?.find((one) => one.tenant === '*');
  const order = entry?.order ?? directory.cells.map(({ name }) => name);
  return order.flatMap((name) => directory.cells.find((cell) => cell.name === name) ?? []).map(({ name, url }) => ({ name, url }));
}

/** @throws RangeError for an empty order */
export function startCells(order: readonly string[], preferred?: string): CellsState {
  const first = preferred !== undefined && order.includes(preferred) ? preferred : order[0];
  if (first === undefined) throw new RangeError('no cell to ask');
  return { order, preferred: first, down: {} };
}

/** @returns the cell to ask, and how long to wait before, ms */
export function nextCell({ order, preferred, down }: CellsState, now: number): { readonly cell: string; readonly waitMs: number } {
  const from = order.indexOf(preferred);
  const inTurn = [...order.slice(from), ...order.slice(0, from)];
  const wait = (cell: string): number => Math.max(0, (down[cell]?.until ?? 0) - now);
  const best = inTurn.reduce((first, cell) => (wait(cell) < wait(first) ? cell : first));
  return { cell: best, waitMs: wait(best) };
}

export function afterAnswer(state: CellsState, cell: string, outcome: CellOutcome, now: number): CellsState {
  if (outcome.kind === 'ok') {
    const { [cell]: _, ...down } = state.down;
    return { ...state, preferred: cell, down };
  }
  const failures = (state.down[cell]?.failures ?? 0) + 1;
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
  const asked = outcome.kind === 'down' ? Math.min(outcome.retryAfterMs ?? 0, LONGEST_PAUSE_MS) : 0;
  const down = { ...state.down, [cell]: { failures, until: now + Math.max(pause, asked) } };
  // Two cells may each name the other while an epoch moves: whoever failed lately stays down all the same.
  const preferred = outcome.kind === 'elsewhere' && state.order.includes(outcome.cell) ? outcome.cell : state.preferred;
  return { ...state, preferred, down };
}
