import { afterEach } from 'vitest';
import type { Ledger, LedgerOptions } from '../../../workloads/ledger/ledger.ts';
import { type Engine, openTest } from '../engines.ts';

/** Ledgers on databases of their own, closed after each test. */
export function ledgers(engine: () => Engine) {
  const open = new Set<Ledger>();
  afterEach(async () => {
    for (const ledger of open) await ledger.close();
    open.clear();
  });
  return {
    fresh: async (options: Partial<LedgerOptions> = {}) => {
      const made = await openTest(await engine().database(), options);
      open.add(made.ledger);
      return made;
    },
    keep: <L extends Ledger>(ledger: L): L => { open.add(ledger); return ledger; },
  };
}
