import { describe, expect, it } from 'vitest';
import { openLedger } from '../../../workloads/ledger/ledger.ts';
import { type Engine, TENANT, newJob, query } from '../engines.ts';
import { ledgers } from './setup.ts';

export function jobTests(engine: () => Engine): void {
  const { fresh, keep, own } = ledgers(engine);

  describe('accepting', () => {
    it('stores job, usage, event and audit entry together', async () => {
      const { ledger, clock, url } = await fresh();
      const job = newJob();
      const answer = await ledger.accept(job);
      expect(answer).toEqual({ outcome: 'accepted', job: { ...job, state: 'accepted', acceptedAt: clock.at, attempts: 0 } });
      expect(await ledger.job(TENANT, job.jobId)).toEqual(answer.job);
      expect(await ledger.usage(TENANT)).toMatchObject({ jobs: 1, bytes: job.size, byState: { accepted: 1 } });
      expect(await ledger.events(TENANT, job.jobId, 0)).toEqual([{ n: 1, event: 'accepted', at: clock.at }]);
      expect((await query(url, `select kind, body from audit order by seq desc limit 1`))[0]).toEqual({
        kind: 'job-accepted',
        body: `{"classification":"confidential","job_id":"${job.jobId}","key_id":"acme.x-wing.1","message_digest":"${job.messageDigest}","size":1234,"tenant_id":"acme","zone":"eu"}`,
      });
    });

    it('writes nothing when any part of the transaction fails', async () => {
      const { ledger, url } = await own();
      await query(url, 'alter table audit add constraint never check (seq < 2)');
      await expect(ledger.accept(newJob())).rejects.toThrow(/never/);
      for (const table of ['jobs', 'usage', 'job_events']) expect(await query(url, `select 1 from ${table}`)).toEqual([]);
    });

    it('answers the same bytes with the same job, and writes nothing', async () => {
      const { ledger, clock } = await fresh();
      const job = newJob();
      const first = await ledger.accept(job);
      const before = await ledger.verifyAudit();
      clock.advance(5_000);
      expect(await ledger.accept(job)).toEqual({ outcome: 'same', job: first.job });
      expect(await ledger.verifyAudit()).toEqual(before);
    });

    it('refuses other bytes under the same id', async () => {
      const { ledger } = await fresh();
      const job = newJob();
      await ledger.accept(job);
      const answer = await ledger.accept({ ...job, messageDigest: 'cd'.repeat(32) });
      expect(answer.outcome).toBe('conflict');
      expect(answer.job.messageDigest).toBe(job.messageDigest);
      expect(await ledger.usage(TENANT)).toMatchObject({ jobs: 1 });
    });

    it('keeps tenants apart: the same id is two jobs', async () => {
      const { ledger } = await fresh();
      await ledger.addTenant({ id: 'other', zone: 'eu' });
      const job = newJob();
      expect((await ledger.accept(job)).outcome).toBe('accepted');
      expect((await ledger.accept({ ...job, tenantId: 'other', messageDigest: 'cd'.repeat(32) })).outcome).toBe('accepted');
    });

    it('accepts one of 20 at the same time', async () => {
      const { ledger } = await fresh();
      const job = newJob();
      const outcomes = await Promise.all(Array.from({ length: 20 }, async () => (await ledger.accept(job)).outcome));
      expect(outcomes.filter((o) => o === 'accepted')).toHaveLength(1);
      expect(outcomes.filter((o) => o === 'same')).toHaveLength(19);
      expect(await ledger.usage(TENANT)).toMatchObject({ jobs: 1 });
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: 2 });
    });

    it('accepts one of 20 different messages under one id', async () => {
      const { ledger } = await fresh();
      const job = newJob();
      const outcomes = await Promise.all(Array.from({ length: 20 }, async (_, i) => (await ledger.accept({ ...job, messageDigest: i.toString(16).padStart(64, '0') })).outcome));
      expect(outcomes.filter((o) => o === 'accepted')).toHaveLength(1);
      expect(outcomes.filter((o) => o === 'conflict')).toHaveLength(19);
    });

    it('knows no unknown tenant', async () => {
      const { ledger } = await fresh();
      await expect(ledger.accept(newJob({ tenantId: 'nobody' }))).rejects.toMatchObject({ code: 'TENANT_UNKNOWN' });
      expect(await ledger.job('nobody', newJob().jobId)).toBeUndefined();
    });
  });

  describe('reading', () => {
    it('lists pages, newest first, by state, of one tenant only', async () => {
      const { ledger, clock } = await fresh();
      await ledger.addTenant({ id: 'other', zone: 'eu' });
      await ledger.accept(newJob({ tenantId: 'other' }));
      const ids: string[] = [];
      for (let i = 0; i < 5; i++) {
        // Pairs share a time: the id must break the tie.
        if (i % 2 === 0) clock.advance(1000);
        ids.push((await ledger.accept(newJob())).job.jobId);
      }
      const all = await ledger.jobs(TENANT, { limit: 10 });
      expect(all.map((j) => j.jobId).sort()).toEqual([...ids].sort());
      expect(all.map((j) => j.acceptedAt)).toEqual(all.map((j) => j.acceptedAt).sort((a, b) => b - a));
      const pages: string[] = [];
      for (let before: string | undefined; ;) {
        const page = await ledger.jobs(TENANT, { limit: 2, ...(before === undefined ? {} : { before }) });
        if (page.length === 0) break;
        pages.push(...page.map((j) => j.jobId));
        before = pages.at(-1);
      }
      expect(pages).toEqual(all.map((j) => j.jobId));
      await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's' });
      expect(await ledger.jobs('other', { limit: 5, state: 'leased' })).toHaveLength(1);
      expect(await ledger.jobs(TENANT, { limit: 5, state: 'leased' })).toHaveLength(0);
      await expect(ledger.jobs(TENANT, { limit: 0 })).rejects.toMatchObject({ code: 'LEDGER_ARGUMENT' });
    });

    it('numbers events and gives those after a number', async () => {
      const { ledger } = await fresh();
      const { jobId } = (await ledger.accept(newJob())).job;
      expect(await ledger.recordEvent(TENANT, jobId, 'released', 'cell-a')).toBe(true);
      const [lease] = await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's' });
      expect(await ledger.recordEvent(TENANT, jobId, 'released')).toBe(true);
      expect(await ledger.recordEvent(TENANT, jobId, 'released')).toBe(true);
      expect(await ledger.recordEvent(TENANT, jobId, 'counted')).toBe(true);
      await ledger.complete({ ...lease!, outcome: 'completed', sessionId: 's' });
      expect(await ledger.recordEvent(TENANT, jobId, 'counted')).toBe(false);
      expect(await ledger.recordEvent(TENANT, newJob().jobId, 'counted')).toBe(false);
      const events = await ledger.events(TENANT, jobId, 0);
      expect(events.map((e) => `${e.n} ${e.event}`)).toEqual(['1 accepted', '2 released', '3 leased', '4 released', '5 counted', '6 completed']);
      expect(events[1]?.detail).toBe('cell-a');
      expect((await ledger.events(TENANT, jobId, 4)).map((e) => e.n)).toEqual([5, 6]);
    });

    it('notes an event of several jobs at once, and "counted" together with the completion', async () => {
      const { ledger } = await fresh();
      const ids = [];
      for (let i = 0; i < 3; i++) ids.push((await ledger.accept(newJob())).job.jobId);
      const leases = await ledger.lease({ max: 3, leaseMs: 1000, sessionId: 's' });
      await ledger.complete({ ...leases[0]!, outcome: 'failed', code: 'X', sessionId: 's' });
      const [over, first, second] = leases.map(({ tenantId, jobId }) => ({ tenantId, jobId }));
      const unknown = { tenantId: TENANT, jobId: newJob().jobId };
      expect(await ledger.recordEvents([second!, over!, unknown, first!], 'released')).toEqual([true, false, false, true]);
      expect(await ledger.recordEvents([first!], 'released')).toEqual([true]);
      expect(await ledger.recordEvents([], 'released')).toEqual([]);
      expect(await ledger.complete({ ...leases[1]!, outcome: 'completed', counted: true, sessionId: 's' })).toEqual({ recorded: true, state: 'completed' });
      expect(await ledger.complete({ ...leases[1]!, outcome: 'completed', counted: true, sessionId: 's' })).toEqual({ recorded: true, again: true, state: 'completed' });
      const told = async (job: { jobId: string }) => (await ledger.events(TENANT, job.jobId, 0)).map((e) => `${e.n} ${e.event}`);
      expect(await told(first!)).toEqual(['1 accepted', '2 leased', '3 released', '4 counted', '5 completed']);
      expect(await told(second!)).toEqual(['1 accepted', '2 leased', '3 released']);
      expect(await told(over!)).toEqual(['1 accepted', '2 leased', '3 failed']);
    });

    it('rings for work and for events, of other ledgers too', async () => {
      const { ledger, url } = await fresh();
      const other = keep(await openLedger({ url, now: Date.now, cell: 'cell-a' }));
      let rang = 0;
      await new Promise<void>((ring) => other.onWork(() => { rang++; ring(); })); // the first ring: connected
      const work = new Promise<void>((ring) => other.onWork(ring));
      const job = newJob();
      const event = new Promise((ring) => other.onEvent(ring));
      await ledger.accept(job);
      await work;
      expect(await event).toEqual({ tenantId: TENANT, jobId: job.jobId });
      expect(rang).toBeGreaterThan(1);
    });
  });
}
