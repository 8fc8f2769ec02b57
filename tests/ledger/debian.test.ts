/** The oldest server that the ledger supports: PostgreSQL 15, from Debian. */
import { describe, expect, it } from 'vitest';
import { debianBinaries, debianIsHere, startEngine } from './engines.ts';
import { describeLedger } from './conformance.ts';

if (debianIsHere) describeLedger('ledger on Debian\'s PostgreSQL 15', () => startEngine(debianBinaries));
else {
  describe('ledger on Debian\'s PostgreSQL 15', () => {
    it.skipIf(process.env['REQUIRE_ENGINES'] !== '1')('needs the Debian package postgresql-15', () => expect.fail('REQUIRE_ENGINES=1, and PostgreSQL 15 is not installed'));
  });
}
