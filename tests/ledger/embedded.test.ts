import { startEngine } from './engines.ts';
import { describeLedger } from './conformance.ts';

describeLedger('ledger on the embedded PostgreSQL', () => startEngine());
