/** Which tenants this cell's broker has keys of: without, it could release nothing, so the cell neither asks for their epochs nor is ready to take over. */
import type { Ledger } from '../ledger/ledger.ts';

export class KeyedTenants {
  readonly #ledger: Pick<Ledger, 'tenantKeys'>;
  readonly #cell: string;
  readonly #known = new Set<string>();

  constructor(ledger: Pick<Ledger, 'tenantKeys'>, cell: string) {
    this.#ledger = ledger;
    this.#cell = cell;
  }

  async ids(tenantId: string): Promise<string[]> {
    return (await this.#ledger.tenantKeys(tenantId)).filter((key) => key.cell === this.#cell).map(({ id }) => id);
  }

  /** Keys are never taken away without their tenant: what was there once is asked for once. */
  async has(tenantId: string): Promise<boolean> {
    if (!this.#known.has(tenantId) && (await this.ids(tenantId)).length > 0) this.#known.add(tenantId);
    return this.#known.has(tenantId);
  }
}
