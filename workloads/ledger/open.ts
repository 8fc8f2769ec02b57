import type { Ledger, LedgerOptions } from './ledger.ts';
import { LedgerError } from './errors.ts';

export async function openLedger(_options: LedgerOptions): Promise<Ledger> {
  throw new LedgerError('LEDGER_CLOSED', 'not yet');
}
