/** Zones of tenants. A tenant's never changes, and the ledger accepts no job of a tenant that it does not have: so what was read once is not asked again with every job. */
import type { Ledger } from '../ledger/ledger.ts';

const MAX_KNOWN = 10_000;

export class Zones {
  readonly #ledger: Pick<Ledger, 'tenant'>;
  readonly #known = new Map<string, string>();

  constructor(ledger: Pick<Ledger, 'tenant'>) {
    this.#ledger = ledger;
  }

  /** Undefined: no such tenant, now; the next call asks again. @throws CccError LEDGER_UNAVAILABLE */
  async of(tenantId: string): Promise<string | undefined> {
    const known = this.#known.get(tenantId);
    if (known !== undefined) return known;
    const zone = (await this.#ledger.tenant(tenantId))?.zone;
    if (zone === undefined) return undefined;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(tenantId, zone);
    return zone;
  }
}
