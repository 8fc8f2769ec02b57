import { afterEach } from 'vitest';
import type { Ledger, LedgerOptions } from '../../../workloads/ledger/ledger.ts';
import { type Engine, openTest, query } from '../engines.ts';

const TABLES = ['api_keys', 'jobs', 'job_events', 'results', 'usage', 'tenant_keys', 'receipts', 'sessions', 'policies', 'audit', 'audit_heads', 'tenants'];

const emptied = new WeakMap<Engine, string>();

/** Making a database takes longer than a test: they take turns in one, emptied before each. */
async function empty(engine: Engine): Promise<string> {
  const known = emptied.get(engine);
  if (known !== undefined) {
    await query(known, TABLES.map((table) => `delete from ${table}`).join('; '));
    return known;
  }
  const url = await engine.database();
  emptied.set(engine, url);
  return url;
}

/** Ledgers on empty databases, closed after each test. */
export function ledgers(engine: () => Engine) {
  const open = new Set<Ledger>();
  afterEach(async () => {
    for (const ledger of open) await ledger.close();
    open.clear();
  });
  const on = async (url: string, options: Partial<LedgerOptions>) => {
    const made = await openTest(url, options);
    open.add(made.ledger);
    return made;
  };
  return {
    fresh: async (options: Partial<LedgerOptions> = {}) => await on(await empty(engine()), options),
    /** A database of its own, for a test that changes more than rows. */
    own: async (options: Partial<LedgerOptions> = {}) => await on(await engine().database(), options),
    keep: <L extends Ledger>(ledger: L): L => { open.add(ledger); return ledger; },
  };
}
