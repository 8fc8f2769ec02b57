import { describe, expect, it } from 'vitest';
import { type Completion, type LeasedJob, openLedger } from '../../../workloads/ledger/ledger.ts';
import { type Engine, TENANT, newJob, query } from '../engines.ts';
import { ledgers } from './setup.ts';

const LEASE_MS = 30_000;
const RESULT = { enc: 'QUJD', ct: 'REVG' };
const done = (lease: LeasedJob, over: Partial<Completion> = {}): Completion => ({
  tenantId: lease.tenantId, jobId: lease.jobId, leaseToken: lease.leaseToken, outcome: 'completed', result: RESULT, sessionId: 's1', ...over,
});

export function leaseTests(engine: () => Engine): void {
  const { fresh, keep } = ledgers(engine);
  const ask = (max = 1, sessionId = 's1') => ({ max, leaseMs: LEASE_MS, sessionId });

  describe('leasing', () => {
    it('leases what was accepted, oldest first, with what a counter needs', async () => {
      const { ledger, clock } = await fresh();
      const jobs = [newJob(), newJob(), newJob()];
      for (const job of jobs) {
        await ledger.accept(job);
        clock.advance(1);
      }
      const leased = await ledger.lease(ask(2));
      expect(leased.map((l) => l.jobId).sort()).toEqual([jobs[0]!.jobId, jobs[1]!.jobId].sort());
      const first = leased.find((l) => l.jobId === jobs[0]!.jobId)!;
      expect(first).toEqual({ ...jobs[0], leaseToken: first.leaseToken, leaseUntil: clock.at + LEASE_MS, attempt: 1 });
      expect(first.leaseToken).toMatch(/^[A-Za-z0-9_-]{22}$/);
      expect(new Set(leased.map((l) => l.leaseToken)).size).toBe(2);
      expect(await ledger.job(TENANT, first.jobId)).toMatchObject({ state: 'leased', attempts: 1, sessionId: 's1' });
      expect(await ledger.lease(ask(10))).toHaveLength(1);
      expect(await ledger.lease(ask(10))).toEqual([]);
      await expect(ledger.lease(ask(0))).rejects.toMatchObject({ code: 'LEDGER_ARGUMENT' });
      await expect(ledger.lease(ask(65))).rejects.toMatchObject({ code: 'LEDGER_ARGUMENT' });
    });

    it('never gives one job twice, to 8 callers of two ledgers at once', async () => {
      const { ledger, clock, url } = await fresh();
      const other = keep(await openLedger({ url, now: clock.now, cell: 'cell-a' }));
      await Promise.all(Array.from({ length: 60 }, () => ledger.accept(newJob())));
      const seen: string[] = [];
      await Promise.all(Array.from({ length: 8 }, async (_, i) => {
        for (let empty = 0; empty < 3;) {
          const leased = await (i % 2 === 0 ? ledger : other).lease(ask(4, `s${i}`));
          if (leased.length === 0) empty++;
          seen.push(...leased.map((l) => l.jobId));
        }
      }));
      expect(seen).toHaveLength(60);
      expect(new Set(seen).size).toBe(60);
    });

    it('gives an expired lease to another; what the first one says then changes no row', async () => {
      const { ledger, clock, url } = await fresh();
      await ledger.accept(newJob());
      const [old] = await ledger.lease(ask());
      clock.advance(LEASE_MS - 1);
      expect(await ledger.lease(ask())).toEqual([]);
      clock.advance(1);
      const [current] = await ledger.lease(ask(1, 's2'));
      expect(current).toMatchObject({ jobId: old!.jobId, attempt: 2 });
      expect(current!.leaseToken).not.toBe(old!.leaseToken);

      const before = await query(url, 'select * from jobs');
      expect(await ledger.complete(done(old!))).toEqual({ recorded: false, state: 'stale' });
      expect(await ledger.heartbeat([old!], LEASE_MS)).toEqual([old!.jobId]);
      expect(await ledger.giveBack([old!], 'X', 0)).toEqual([]);
      expect(await ledger.leasedJobs([old!, current!])).toEqual([undefined, expect.objectContaining({ jobId: old!.jobId, sessionId: 's2' })]);
      expect(await query(url, 'select * from jobs')).toEqual(before);
      expect(await query(url, 'select * from results')).toEqual([]);

      expect(await ledger.complete(done(current!, { sessionId: 's2' }))).toEqual({ recorded: true, state: 'completed' });
      expect(await ledger.complete(done(old!))).toEqual({ recorded: false, state: 'stale' });
      expect(await query(url, 'select session_id from results')).toEqual([{ session_id: 's2' }]);
    });

    it('lets the holder of an expired lease complete while nobody else has the job', async () => {
      const { ledger, clock } = await fresh();
      await ledger.accept(newJob());
      const [lease] = await ledger.lease(ask());
      clock.advance(10 * LEASE_MS);
      expect(await ledger.complete(done(lease!))).toEqual({ recorded: true, state: 'completed' });
    });

    it('renews leases', async () => {
      const { ledger, clock } = await fresh();
      await Promise.all([ledger.accept(newJob()), ledger.accept(newJob())]);
      const [kept, dropped] = await ledger.lease(ask(2));
      for (let i = 0; i < 4; i++) {
        clock.advance(LEASE_MS / 2);
        expect(await ledger.heartbeat([kept!], LEASE_MS)).toEqual([]);
      }
      expect((await ledger.lease(ask(2, 's2'))).map((l) => l.jobId)).toEqual([dropped!.jobId]);
      expect(await ledger.heartbeat([kept!, dropped!], LEASE_MS)).toEqual([dropped!.jobId]);
      expect(await ledger.leasedJobs([{ ...kept!, leaseToken: 'wrong' }, dropped!, kept!, { ...kept!, tenantId: 'other' }])).toEqual([undefined, undefined, expect.objectContaining({ jobId: kept!.jobId, state: 'leased', sessionId: expect.any(String) }), undefined]);
      expect(await ledger.leasedJobs([])).toEqual([]);
      expect(await ledger.heartbeat([{ ...kept!, leaseToken: 'wrong' }], LEASE_MS)).toEqual([kept!.jobId]);
    });

    it('gives back with a growing delay, and counts the attempt', async () => {
      const { ledger, clock } = await fresh();
      const job = newJob();
      await ledger.accept(job);
      for (const [attempt, delay] of [[1, 1000], [2, 2000], [3, 4000]] as const) {
        const [lease] = await ledger.lease(ask());
        expect(lease?.attempt).toBe(attempt);
        expect(await ledger.giveBack([lease!], 'BROKER_UNAVAILABLE', 1000)).toEqual([job.jobId]);
        expect(await ledger.complete(done(lease!))).toEqual({ recorded: false, state: 'stale' });
        expect((await ledger.job(TENANT, job.jobId))?.state).toBe('accepted');
        clock.advance(delay - 1);
        expect(await ledger.lease(ask())).toEqual([]);
        clock.advance(1);
      }
      expect((await ledger.events(TENANT, job.jobId, 2))[0]).toMatchObject({ event: 'requeued', detail: 'BROKER_UNAVAILABLE' });
    });

    it('caps the delay', async () => {
      const { ledger, clock } = await fresh({ maxAttempts: 1000 });
      await ledger.accept(newJob());
      for (let i = 0; i < 12; i++) {
        const [lease] = await ledger.lease(ask());
        await ledger.giveBack([lease!], 'X', 60_000);
        clock.advance(5 * 60_000);
      }
      expect(await ledger.lease(ask())).toHaveLength(1);
    });

    it('fails a job whose attempts are used up, and leases the one behind it', async () => {
      const { ledger, clock, url } = await fresh({ maxAttempts: 2 });
      const job = newJob();
      await ledger.accept(job);
      for (let i = 0; i < 2; i++) {
        expect(await ledger.lease(ask())).toHaveLength(1);
        clock.advance(LEASE_MS);
      }
      const behind = (await ledger.accept(newJob())).job;
      expect((await ledger.lease(ask(1))).map((l) => l.jobId)).toEqual([behind.jobId]);
      expect(await ledger.job(TENANT, job.jobId)).toMatchObject({ state: 'failed', code: 'ATTEMPTS_EXHAUSTED', attempts: 2, finishedAt: clock.at });
      expect(await query(url, 'select outcome, code, sealed from results')).toEqual([{ outcome: 'failed', code: 'ATTEMPTS_EXHAUSTED', sealed: null }]);
      expect((await ledger.events(TENANT, job.jobId, 0)).at(-1)).toMatchObject({ event: 'failed', detail: 'ATTEMPTS_EXHAUSTED' });
      expect((await query(url, 'select kind from audit order by seq desc limit 1'))[0]).toEqual({ kind: 'job-failed' });
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true });
    });

    it('refuses the late completion of a job that failed meanwhile', async () => {
      const { ledger, clock } = await fresh({ maxAttempts: 1 });
      const { jobId } = (await ledger.accept(newJob())).job;
      const [lease] = await ledger.lease(ask());
      clock.advance(LEASE_MS);
      expect(await ledger.sweep()).toMatchObject({ exhausted: 1 });
      expect(await ledger.complete(done(lease!))).toEqual({ recorded: false, state: 'stale' });
      expect(await ledger.job(TENANT, jobId)).toMatchObject({ state: 'failed' });
      expect(await ledger.sweep()).toMatchObject({ exhausted: 0 });
    });

    it('does not deadlock over batches in opposite orders', async () => {
      const { ledger } = await fresh();
      await Promise.all(Array.from({ length: 12 }, () => ledger.accept(newJob())));
      const leases = await ledger.lease(ask(12));
      const answers = await Promise.all(Array.from({ length: 16 }, (_, i) => ledger.heartbeat(i % 2 === 0 ? leases : [...leases].reverse(), LEASE_MS)));
      expect(answers.flat()).toEqual([]);
    });
  });

  describe('completing', () => {
    it('records one result with event and audit entry, for each outcome', async () => {
      const { ledger, clock, url } = await fresh();
      await Promise.all(['completed', 'rejected', 'failed'].map(() => ledger.accept(newJob())));
      const leases = await ledger.lease(ask(3));
      clock.advance(500);
      for (const [i, outcome] of (['completed', 'rejected', 'failed'] as const).entries()) {
        const lease = leases[i]!;
        const code = outcome === 'completed' ? {} : { code: 'IMAGE_FORMAT' };
        expect(await ledger.complete(done(lease, { outcome, ...code }))).toEqual({ recorded: true, state: outcome });
        expect(await ledger.job(TENANT, lease.jobId)).toMatchObject({ state: outcome, ...code, finishedAt: clock.at, result: RESULT, sessionId: 's1' });
        expect((await ledger.events(TENANT, lease.jobId, 2)).map((e) => e.event)).toEqual([outcome]);
        expect((await query(url, 'select kind from audit order by seq desc limit 1'))[0]).toEqual({ kind: `job-${outcome}` });
      }
      expect((await ledger.usage(TENANT)).byState).toEqual({ accepted: 0, leased: 0, completed: 1, rejected: 1, failed: 1 });
    });

    it('answers a repeated completion like the first, and changes nothing', async () => {
      const { ledger, clock, url } = await fresh();
      await ledger.accept(newJob());
      const [lease] = await ledger.lease(ask());
      await ledger.complete(done(lease!));
      const before = [await query(url, 'select * from jobs'), await query(url, 'select * from results'), await query(url, 'select * from job_events'), await ledger.verifyAudit()];
      clock.advance(1000);
      expect(await ledger.complete(done(lease!))).toEqual({ recorded: true, again: true, state: 'completed' });
      expect(await ledger.complete(done(lease!, { outcome: 'failed', code: 'X' }))).toEqual({ recorded: false, state: 'completed' });
      expect(await ledger.complete(done(lease!, { result: { enc: 'QUJD', ct: 'AAAA' } }))).toEqual({ recorded: false, state: 'completed' });
      expect(await ledger.complete(done(lease!, { leaseToken: 'AAAA' }))).toEqual({ recorded: false, state: 'stale' });
      expect([await query(url, 'select * from jobs'), await query(url, 'select * from results'), await query(url, 'select * from job_events'), await ledger.verifyAudit()]).toEqual(before);
    });

    it('records once when 10 completions come at once', async () => {
      const { ledger, url } = await fresh();
      await ledger.accept(newJob());
      const [lease] = await ledger.lease(ask());
      const answers = await Promise.all(Array.from({ length: 10 }, () => ledger.complete(done(lease!))));
      expect(answers.filter(({ again }) => again !== true)).toEqual([{ recorded: true, state: 'completed' }]);
      expect(answers.filter(({ again }) => again === true)).toEqual(Array(9).fill({ recorded: true, again: true, state: 'completed' }));
      expect(await query(url, 'select 1 from results')).toHaveLength(1);
      expect(await query(url, `select 1 from audit where kind = 'job-completed'`)).toHaveLength(1);
    });

    it('ends several in one transaction, each by itself, and writes of each what it would write of one', async () => {
      const { ledger, clock, url } = await fresh();
      const jobs = await Promise.all(Array.from({ length: 5 }, () => ledger.accept(newJob())));
      const [a, b, c, over, lost] = await ledger.lease(ask(5)) as LeasedJob[] as [LeasedJob, LeasedJob, LeasedJob, LeasedJob, LeasedJob];
      await ledger.complete(done(over));
      await ledger.giveBack([lost], 'X', 0);
      clock.advance(500);
      const all = [done(b, { counted: true }), done(over), done(a, { outcome: 'failed', code: 'X' }), done(lost), done(over === a ? b : { ...over, jobId: 'nobody' }), done(c, { leaseToken: 'AAAA' })];
      expect(await ledger.completeAll(all)).toEqual([
        { recorded: true, state: 'completed' }, { recorded: true, again: true, state: 'completed' }, { recorded: true, state: 'failed' }, { recorded: false, state: 'stale' }, { recorded: false, state: 'stale' }, { recorded: false, state: 'stale' },
      ]);
      expect(await Promise.all(jobs.map(async ({ job }) => (await ledger.job(TENANT, job.jobId))?.state))).toEqual(expect.arrayContaining(['completed', 'completed', 'failed', 'leased', 'accepted']));
      expect((await ledger.events(TENANT, b.jobId, 2)).map((e) => `${e.n} ${e.event} ${e.at}`)).toEqual([`3 counted ${clock.at}`, `4 completed ${clock.at}`]);
      expect(await ledger.job(TENANT, a.jobId)).toMatchObject({ state: 'failed', code: 'X', finishedAt: clock.at, sessionId: 's1' });
      const written = await query<{ kind: string; body: string }>(url, `select kind, body from audit where kind in ('job-completed', 'job-failed') order by seq`);
      const [alone, ...together] = written.map(({ kind, body }) => [kind, JSON.parse(body)] as [string, Record<string, unknown>]);
      const of = (body: unknown, lease: LeasedJob) => ({ ...body as Record<string, unknown>, job_id: lease.jobId });
      expect(together).toEqual([['job-completed', of(alone?.[1], b)], ['job-failed', { ...of(alone?.[1], a), code: 'X' }]]);
      expect(written[1]?.body).toBe(written[0]?.body.replace(over.jobId, b.jobId));
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true });
      await expect(ledger.completeAll([done(c), done(c)])).rejects.toMatchObject({ code: 'LEDGER_ARGUMENT' });
      expect(await ledger.completeAll([])).toEqual([]);
    });

    it('does not deadlock over ends in opposite orders, and records each once', async () => {
      const { ledger, url } = await fresh();
      await Promise.all(Array.from({ length: 8 }, () => ledger.accept(newJob())));
      const ends = (await ledger.lease(ask(8))).map((lease) => done(lease));
      const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => ledger.completeAll(i % 2 === 0 ? ends : [...ends].reverse())));
      expect(answers.flat().every(({ recorded }) => recorded)).toBe(true);
      expect(answers.flat().filter(({ again }) => again !== true)).toHaveLength(8);
      expect(await query(url, 'select 1 from results')).toHaveLength(8);
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true });
    });

    it('keeps final jobs out of the queue for ever', async () => {
      const { ledger, clock } = await fresh();
      await ledger.accept(newJob());
      const [lease] = await ledger.lease(ask());
      await ledger.complete(done(lease!, { outcome: 'rejected', code: 'X', result: undefined }));
      clock.advance(365 * 24 * 3_600_000);
      expect(await ledger.lease(ask())).toEqual([]);
      expect(await ledger.giveBack([lease!], 'X', 0)).toEqual([]);
      expect(await ledger.heartbeat([lease!], LEASE_MS)).toEqual([lease!.jobId]);
      expect(await ledger.job(TENANT, lease!.jobId)).not.toHaveProperty('result');
      expect((await ledger.accept(newJob({ jobId: lease!.jobId }))).outcome).toBe('same');
      expect(await ledger.counts()).toMatchObject({ jobs: { rejected: 1 }, due: 0, tenants: 1 });
    });
  });
}
