/** What every server behind the ledger must do. The same tests run on each. */
import { afterAll, beforeAll, describe } from 'vitest';
import { type Engine } from './engines.ts';
import { jobTests } from './conformance/jobs.ts';
import { leaseTests } from './conformance/leases.ts';
import { recordTests } from './conformance/records.ts';
import { auditTests } from './conformance/audit.ts';
import { failureTests } from './conformance/failures.ts';

export function describeLedger(name: string, start: () => Promise<Engine>): void {
  describe(name, () => {
    let engine: Engine | undefined;
    beforeAll(async () => { engine = await start(); });
    afterAll(async () => { await engine?.stop(); });
    const get = (): Engine => {
      if (engine === undefined) throw new Error('the server did not start');
      return engine;
    };
    jobTests(get);
    leaseTests(get);
    recordTests(get);
    auditTests(get);
    failureTests(get);
  });
}
