/** The drain of a take-over, as the gateway notes it. */
import { expect, it } from 'vitest';
import { type PhaseEvent, PhaseLog } from '../../workloads/gateway/phases.ts';

const setUp = () => {
  let at = 0;
  const written: PhaseEvent[] = [];
  const log = new PhaseLog({ cell: 'b', now: () => (at += 10), write: (event) => { written.push(event); } });
  return { log, drains: () => written.filter(({ phase }) => phase === 'drain').map(({ tenant }) => tenant) };
};

it('a tenant is drained once nothing of before its promotion is open, and that is noted once', async () => {
  const { log, drains } = setUp();
  log.note('promote', 't', 2);
  log.note('promote', 'u', 2);
  const asked: unknown[] = [];
  const look = (open: string[]) => log.drain(['t', 'u'], async (since) => { asked.push(since); return open; });
  await look(['t']);
  expect([drains(), asked]).toEqual([['u'], [[{ tenantId: 't', at: 10 }, { tenantId: 'u', at: 20 }]]]);
  await look([]);
  await look([]);
  expect([drains(), asked.length]).toEqual([['u', 't'], 2]);
});

it('what another cell has by now is not waited for; a tenant taken over again while the ledger looks is looked at anew', async () => {
  const { log, drains } = setUp();
  log.note('promote', 't', 2);
  await log.drain([], () => Promise.reject(new Error('nothing to ask')));
  log.note('promote', 'u', 2);
  await log.drain(['u'], async () => { log.note('promote', 'u', 4); return []; });
  expect(drains()).toEqual([]);
  await log.drain(['u'], async () => []);
  expect(drains()).toEqual(['u']);
});
