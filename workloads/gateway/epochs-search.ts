/** Finds the heirs of tenants of tier sync (epochs-heirs.ts): looks which cells copy, and whether their copies have every job. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Replication } from '../ledger/replication.ts';
import type { Clock } from '../protocol/clock.ts';
import type { EpochRules } from '../protocol/epoch.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import { type HolderConfig, type HolderState, IDLE } from './epochs-core.ts';
import { consider, dismiss, forget, heirsWanted, name } from './epochs-heirs.ts';

export interface HeirSearchOptions {
  readonly cell: string;
  readonly replication: Pick<Replication, 'state' | 'holds'> | undefined;
  readonly states: Map<string, HolderState>;
  readonly now: Clock;
  readonly log: Log;
}

const PACE_MS = 500;
/** A planned failover waits so long: for its copy while the tenant is served yet, then for the last rows. */
const READY_MS = 15_000;
const REST_MS = 5_000;
const REST_LOOK_MS = 50;
/** Who has named nobody yet, and acknowledges nothing before, names nobody rather than wait for longer. */
const FIRST_MS = 2_000;

export class HeirSearch {
  readonly #options: HeirSearchOptions;
  /** By tenant: when it was looked after last. */
  readonly #at = new Map<string, number>();
  #running: Promise<void> | undefined;

  constructor(options: HeirSearchOptions) {
    this.#options = options;
  }

  /** As soon as an epoch is held: until heirs are named, nothing is acknowledged. */
  hurry(tenant: string): void {
    this.#at.delete(tenant);
  }

  /** Goes on by itself, never twice at once. @param held tenants whose epochs are held now */
  look(config: HolderConfig, held: readonly string[]): void {
    const { now, log } = this.#options;
    const due = held.filter((tenant) => Math.abs(now() - (this.#at.get(tenant) ?? Number.NEGATIVE_INFINITY)) >= PACE_MS);
    if (due.length === 0 || this.#running !== undefined) return;
    for (const tenant of due) this.#at.set(tenant, now());
    this.#running = this.#search(config, due).catch((error: unknown) => log.warn('heirs not found', errorFields(error))).finally(() => { this.#running = undefined; });
  }

  /**
   * Before these tenants are given back for `to`: it has had everything once, so that what may still be missing is the last moment's.
   * @returns those of which it has not
   */
  async lacking({ order }: EpochRules, tenants: readonly string[], to: string): Promise<string[]> {
    let left = tenants.filter((tenant) => to !== this.#options.cell && order(tenant).includes(to));
    for (const end = performance.now() + READY_MS; left.length > 0; await delay(REST_LOOK_MS)) {
      const whole = await this.#whole(to, left);
      left = left.filter((tenant) => !whole.includes(tenant));
      if (performance.now() > end) break;
    }
    return left;
  }

  /** Cells of the order but this one that have every job of the tenant, now that nothing more is acknowledged. @param to is waited for a moment */
  async complete({ order }: EpochRules, tenant: string, to: string | undefined): Promise<string[]> {
    const others = order(tenant).filter((cell) => cell !== this.#options.cell);
    for (const end = performance.now() + REST_MS; ; await delay(REST_LOOK_MS)) {
      const copying = await this.#copying();
      const found = await Promise.all(others.filter((cell) => copying.has(cell)).map(async (cell) => ((await this.#whole(cell, [tenant])).length > 0 ? [cell] : [])));
      const whole = found.flat();
      if (performance.now() > end || (to === undefined ? whole.length > 0 : whole.includes(to) || !others.includes(to))) return whole;
    }
  }

  async #copying(): Promise<Set<string>> {
    const state = await this.#options.replication?.state();
    return new Set(state?.peers.flatMap(({ peer, state: one }) => (one === 'streaming' ? [peer] : [])));
  }

  async #whole(cell: string, tenants: readonly string[]): Promise<readonly string[]> {
    const { replication, log } = this.#options;
    return await replication?.holds(cell, tenants).catch((error: unknown) => { log.warn('heirs not found', { where: cell, ...errorFields(error) }); return []; }) ?? [];
  }

  async #search(config: HolderConfig, tenants: readonly string[]): Promise<void> {
    const { cell, states, now } = this.#options;
    const { rules } = config;
    const copying = await this.#copying().catch(() => new Set<string>());
    /** By the heir to be, what its tenants' states were when the look began. */
    const asked = new Map<string, Map<string, HolderState>>();
    for (const tenant of tenants) {
      const state = forget(config, states.get(tenant) ?? IDLE, tenant, now());
      const sync = rules.tier(tenant) === 'sync';
      const wanted = state.epoch === 0 ? undefined : heirsWanted(state, { sync, others: rules.order(tenant).filter((one) => one !== cell), copies: (one) => copying.has(one) }, now());
      const [heir] = wanted ?? [];
      if (wanted === undefined) states.set(tenant, state);
      else if (!sync || heir === undefined) states.set(tenant, name(state, wanted, state, !sync));
      else {
        const found = consider(state, wanted);
        states.set(tenant, found);
        asked.set(heir, (asked.get(heir) ?? new Map<string, HolderState>()).set(tenant, found));
      }
    }
    await Promise.all([...asked].map(async ([heir, found]) => {
      const first = [...found.values()].some(({ namings }) => namings.length === 0);
      const looking = this.#whole(heir, [...found.keys()]);
      const whole = new Set(await (first ? Promise.race([looking, delay<readonly string[]>(FIRST_MS, [], { ref: false })]) : looking));
      for (const [tenant, before] of found) {
        const state = states.get(tenant) ?? IDLE;
        if (whole.has(tenant)) states.set(tenant, name(state, [heir], before));
        // Who has named nobody yet acknowledges nothing: nobody is better than waiting.
        else states.set(tenant, state.namings.length === 0 ? name(state, [], before) : state.candidates === before.candidates ? dismiss(state) : state);
      }
    }));
  }
}
