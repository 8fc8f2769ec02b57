/**
 * Which keys messages of a tenant may be wrapped to. Read anew every second, and before anything is refused; so a key that was retired is accepted for a
 * second more, and its job then ends with the broker's KEY_STATE instead of being refused here.
 */
import type { Ledger } from '../ledger/ledger.ts';
import type { Clock } from '../protocol/clock.ts';
import type { StoredKey } from '../protocol/messages.ts';

export type KeyState = Pick<StoredKey, 'id' | 'alg' | 'state'>;

const FRESH_MS = 1_000;
const MAX_KNOWN = 1_000;

export class KeyStates {
  readonly #ledger: Pick<Ledger, 'tenantKeys'>;
  readonly #now: Clock;
  readonly #known = new Map<string, { readonly keys: readonly KeyState[]; readonly at: number }>();

  constructor(ledger: Pick<Ledger, 'tenantKeys'>, now: Clock) {
    this.#ledger = ledger;
    this.#now = now;
  }

  /** What `pick` finds among the tenant's keys, or throws of them as they are now. */
  async pick<T>(tenantId: string, pick: (keys: readonly KeyState[]) => T): Promise<T> {
    const known = this.#known.get(tenantId);
    if (known !== undefined && this.#now() - known.at < FRESH_MS) {
      try {
        return pick(known.keys);
      } catch { /* judged again below */ }
    }
    const at = this.#now();
    const keys = (await this.#ledger.tenantKeys(tenantId)).map(({ id, alg, state }) => ({ id, alg, state }));
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(tenantId, { keys, at });
    return pick(keys);
  }
}
