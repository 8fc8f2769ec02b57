/**
 * When this cell took over whose epoch, phase by phase: `detect` (the epoch before is seen to have ended), `decide` (asks for one), `fence` (a majority promised it: no other cell has
 * one), `promote` (jobs of the cells before are due here), `attest` (an attested counter leased the first), `release` (the broker released its key).
 */
import type { Clock } from '../protocol/clock.ts';

export const TAKE_OVER_PHASES = ['detect', 'decide', 'fence', 'promote', 'attest', 'release'] as const;
export type TakeOverPhase = (typeof TAKE_OVER_PHASES)[number];
export interface PhaseEvent { readonly at: number; readonly cell: string; readonly tenant: string; readonly phase: TakeOverPhase; readonly epoch?: number }

const RECENT = 512;

export class PhaseLog {
  readonly #cell: string;
  readonly #now: Clock;
  readonly #write: (event: PhaseEvent) => void;
  readonly #recent: PhaseEvent[] = [];
  /** Tenants taken over, and which of the phases after it are still to come. */
  readonly #open = new Map<string, Set<TakeOverPhase>>();

  /** @param write keeps an event; never waited for: telling must not hinder doing */
  constructor({ cell, now, write = () => {} }: { cell: string; now: Clock; write?: ((event: PhaseEvent) => void) | undefined }) {
    this.#cell = cell;
    this.#now = now;
    this.#write = write;
  }

  note(phase: TakeOverPhase, tenant: string, epoch?: number): void {
    if (phase === 'promote') this.#open.set(tenant, new Set(['attest', 'release']));
    const event: PhaseEvent = { at: this.#now(), cell: this.#cell, tenant, phase, ...(epoch === undefined ? {} : { epoch }) };
    this.#recent.push(event);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#write(event);
  }

  /** Of what happens all the time, the first time after a promotion. */
  first(phase: 'attest' | 'release', tenant: string): void {
    if (this.#open.get(tenant)?.delete(phase) === true) this.note(phase, tenant);
  }

  get recent(): readonly PhaseEvent[] {
    return this.#recent;
  }
}
