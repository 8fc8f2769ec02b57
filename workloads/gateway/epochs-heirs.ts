/**
 * To whom a holder leaves a tenant of tier sync, as pure functions on its state. Observers let nobody else take over, so whoever does has every job that was
 * acknowledged, whichever cell of the order it is.
 *
 *   consider: from now on each job waits for the new heir as well
 *   then it is found out, from the rows themselves, whether that cell has every job that is here
 *   name: the observers are told; once a majority has it, jobs wait for the new heir only
 *
 * A job waits for every cell that some observer of a later majority might let take over: those of the last naming that a majority has, and of all
 * that were sent after it. Before the first one that a majority has, nothing is acknowledged: what a process before this one named may count.
 */
import { type HolderConfig, type HolderState, holds, type Named, type Plan } from './epochs-core.ts';
import { ms } from '../protocol/epoch.ts';

/** The last naming that a majority of the observers has, by promises that last. */
function known(config: HolderConfig, state: HolderState, tenant: string, now: number): Named | undefined {
  return state.namings.findLast(({ n }) => holds(config, { ...state, promises: state.promises.filter(({ promise }) => (promise.heirs?.n ?? 0) >= n) }, tenant, now) !== undefined);
}

/** Cells that must have a job before it is acknowledged. `undefined`: nothing may be acknowledged yet. */
export function waitsFor(config: HolderConfig, state: HolderState, tenant: string, now: number): readonly string[] | undefined {
  const first = known(config, state, tenant, now);
  return first === undefined ? undefined : [...new Set([...state.namings.filter(({ n }) => n >= first.n).flatMap(({ cells }) => cells), ...state.candidates])];
}

/** Before the look: what is acknowledged from now on waits for these as well. */
export const consider = (state: HolderState, cells: readonly string[]): HolderState => ({ ...state, candidates: [...cells] });
/** They do not have everything. */
export const dismiss = (state: HolderState): HolderState => (state.candidates.length === 0 ? state : { ...state, candidates: [] });

/**
 * @param found the state when the look began: what `consider` gave, so that nothing that was acknowledged before is missed. A holder that lost the epoch
 * since, even if it has another one now, names nobody by it.
 * @param unasked nobody looked whether they have everything: of tier async
 */
export function name(state: HolderState, cells: readonly string[], found: HolderState, unasked = false): HolderState {
  if (state.epoch === 0 || state.candidates !== found.candidates) return state;
  const since = Object.fromEntries(found.promises.map(({ promise }) => [promise.observer, promise.iat]));
  const n = state.lastNaming + 1;
  return { ...state, namings: [...state.namings, { n, cells: [...cells], since, unasked }], lastNaming: n, candidates: [], sentAt: {} };
}

/** Namings that no observer of a majority can have any more are forgotten. */
export function forget(config: HolderConfig, state: HolderState, tenant: string, now: number): HolderState {
  const first = state.namings.length < 2 ? undefined : known(config, state, tenant, now);
  return first === undefined ? state : { ...state, namings: state.namings.filter(({ n }) => n >= first.n) };
}

/** Who would be let take over now, as observers say that have the last naming: by all processes of the cell together. `undefined`: anybody, or nothing is known. */
function heirsSeen(state: HolderState, now: number): readonly string[] | undefined {
  const n = state.namings.at(-1)?.n ?? 0;
  const said = state.promises.flatMap(({ promise: { heirs, exp, epoch } }) => (heirs !== undefined && heirs.n >= n && epoch === state.epoch && ms(exp) > now ? [heirs.cells] : []));
  return said[0]?.filter((cell) => said.every((cells) => cells.includes(cell)));
}

export interface Choice {
  /** Of tier sync. */
  readonly sync: boolean;
  /** Cells of the tenant's order but this one. */
  readonly others: readonly string[];
  /** Whether a cell's copy follows now. */
  readonly copies: (cell: string) => boolean;
}

/** Whom to name next, once they have everything. None: there is nobody to leave it to. `undefined`: it is well as it is. */
export function heirsWanted(state: HolderState, { sync, others, copies }: Choice, now: number): readonly string[] | undefined {
  const last = state.namings.at(-1);
  const seen = heirsSeen(state, now);
  if (!sync) {
    // Nothing waits for anybody; whoever was kept out of it before is no longer.
    const open = last?.cells ?? seen;
    return open === undefined || others.every((cell) => open.includes(cell)) ? undefined : others;
  }
  const heir = last?.unasked === true ? undefined : last?.cells.find(copies);
  // What another process of this cell named before it ended may stand in the way, until one has looked again.
  if (heir !== undefined && seen?.includes(heir) !== false) return undefined;
  const next = heir ?? others.find(copies);
  return next === undefined ? (last === undefined ? [] : undefined) : [next];
}

/** A planned failover's plan, with the cells that have everything now that nothing more is acknowledged. @param state as `giveBack` left it */
export const leaveTo = (plan: Plan, state: HolderState, cells: readonly string[]): Plan => ({ ...plan, release: plan.release.map((one) => ({ ...one, heirs: { n: state.lastNaming, cells } })) });
