/**
 * When this cell took over whose epoch, phase by phase: `detect` (the epoch before is seen to have ended), `decide` (asks for one), `fence` (a majority promised it: no other cell has
 * one), `promote` (jobs of the cells before are due here), `attest` (an attested counter leased the first), `release` (the broker released its key), `drain` (all that waited when it was promoted is over).
 */
import type { Clock } from '../protocol/clock.ts';

export const TAKE_OVER_PHASES = ['detect', 'decide', 'fence', 'promote', 'attest', 'release', 'drain'] as const;
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
  /** Tenants taken over whose jobs of before are not all over, and when they were promoted. */
  readonly #draining = new Map<string, number>();

  /** @param write keeps an event; never waited for: telling must not hinder doing */
  constructor({ cell, now, write = () => {} }: { cell: string; now: Clock; write?: ((event: PhaseEvent) => void) | undefined }) {
    this.#cell = cell;
    this.#now = now;
    this.#write = write;
  }

  note(phase: TakeOverPhase, tenant: string, epoch?: number): void {
    const at = this.#now();
    if (phase === 'promote') {
      this.#open.set(tenant, new Set(['attest', 'release']));
      this.#draining.set(tenant, at);
    }
    const event: PhaseEvent = { at, cell: this.#cell, tenant, phase, ...(epoch === undefined ? {} : { epoch }) };
    this.#recent.push(event);
    if (this.#recent.length > RECENT) this.#recent.shift();
    this.#write(event);
  }

  /** Of what happens all the time, the first time after a promotion. */
  first(phase: 'attest' | 'release', tenant: string): void {
    if (this.#open.get(tenant)?.delete(phase) === true) this.note(phase, tenant);
  }

  /**
   * Looks whether what waited is over. A tenant that another cell has by now is not waited for.
   * @param undrained of these, the tenants that still have an open job of before `at`
   */
  async drain(held: readonly string[], undrained: (since: readonly { tenantId: string; at: number }[]) => Promise<readonly string[]>): Promise<void> {
    for (const tenant of this.#draining.keys()) if (!held.includes(tenant)) this.#draining.delete(tenant);
    const since = [...this.#draining].map(([tenantId, at]) => ({ tenantId, at }));
    if (since.length === 0) return;
    const open = await undrained(since);
    for (const { tenantId, at } of since) {
      // Taken over once more while the ledger looked: that one counts.
      if (open.includes(tenantId) || this.#draining.get(tenantId) !== at) continue;
      this.#draining.delete(tenantId);
      this.note('drain', tenantId);
    }
  }

  get recent(): readonly PhaseEvent[] {
    return this.#recent;
  }
}
