import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Migrator } from 'kysely/migration';
import { openKysely, openPool } from '../../../workloads/ledger/database.ts';
import { LedgerUnavailable, type LeasedJob, type NewJob, openLedger } from '../../../workloads/ledger/ledger.ts';
import { MIGRATIONS } from '../../../workloads/ledger/migrations/index.ts';
import { type Engine, START, TENANT, newJob, query } from '../engines.ts';
import { type Proxy, startProxy } from '../proxy.ts';
import { ledgers } from './setup.ts';

/** What a caller does: the same call again, while the answer is that nothing is known. */
async function insist<T>(work: () => Promise<T>, patience = 90_000): Promise<T> {
  for (const until = Date.now() + patience; ;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof LedgerUnavailable) || Date.now() > until) throw error;
      await delay(20);
    }
  }
}

export function failureTests(engine: () => Engine): void {
  const { fresh, keep, own } = ledgers(engine);
  let proxy: Proxy | undefined;
  afterEach(async () => {
    await proxy?.close();
    proxy = undefined;
  });

  /** A ledger whose only connection goes through a proxy, so that requests can be counted. */
  const behindProxy = async () => {
    const made = await fresh();
    proxy = await startProxy(made.url);
    const ledger = keep(await openLedger({ url: proxy.url, now: made.clock.now, cell: 'cell-a', connections: 1 }));
    await new Promise<void>((ring) => ledger.onWork(ring));
    return { ...made, ledger, direct: made.ledger, proxy };
  };

  describe('lost connections', () => {
    // Accepting is one request: one statement is one transaction.
    it.each(['request', 'answer'] as const)('accept, its %s lost: no success is claimed, and the repeated call is right', async (side) => {
      const { ledger, direct, proxy } = await behindProxy();
      const job = newJob();
      proxy.cutAt(1, side);
      await expect(ledger.accept(job)).rejects.toMatchObject({ name: 'LedgerUnavailable', code: 'LEDGER_UNAVAILABLE' });
      expect(proxy.calm()).toBe(true);
      const committed = side === 'answer';
      if (!committed) expect(await direct.job(TENANT, job.jobId)).toBeUndefined();
      expect((await ledger.accept(job)).outcome).toBe(committed ? 'same' : 'accepted');
      expect(await direct.usage(TENANT)).toMatchObject({ jobs: 1 });
      expect(await direct.verifyAudit()).toMatchObject({ ok: true, entries: 2 });
    });

    it.each(['request', 'answer'] as const)('complete, its %s lost', async (side) => {
      const { ledger, direct, proxy, url } = await behindProxy();
      await ledger.accept(newJob());
      const [lease] = await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's' });
      const completion = { ...lease!, outcome: 'completed' as const, result: { enc: 'AAAA', ct: 'BBBB' }, sessionId: 's' };
      proxy.cutAt(1, side);
      await expect(ledger.complete(completion)).rejects.toBeInstanceOf(LedgerUnavailable);
      expect(proxy.calm()).toBe(true);
      expect((await direct.job(TENANT, lease!.jobId))?.state).toBe(side === 'answer' ? 'completed' : 'leased');
      expect(await ledger.complete(completion)).toEqual({ recorded: true, ...(side === 'answer' ? { again: true } : {}), state: 'completed' });
      expect(await query(url, 'select 1 from results')).toHaveLength(1);
    });

    it('lease, its answer lost: the jobs come back when their leases end', async () => {
      const { ledger, clock, proxy } = await behindProxy();
      await ledger.accept(newJob());
      proxy.cutAt(3, 'answer');
      await expect(ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's' })).rejects.toBeInstanceOf(LedgerUnavailable);
      expect(await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's' })).toEqual([]);
      clock.advance(1000);
      expect(await ledger.lease({ max: 1, leaseMs: 1000, sessionId: 's' })).toMatchObject([{ attempt: 2 }]);
    });

    it('a table that another version changed under prepared statements: they are made anew', async () => {
      const { ledger, url } = await fresh();
      for (let i = 0; i < 8; i++) await ledger.accept(newJob()); // on every connection of the pool, planned for good
      await query(url, 'alter table jobs add column later text');
      const { job } = await ledger.accept(newJob());
      expect((await ledger.job(TENANT, job.jobId))?.state).toBe('accepted');
      expect(await ledger.lease({ max: 64, leaseMs: 1000, sessionId: 's' })).toHaveLength(9);
      await query(url, 'alter table jobs drop column later');
      expect((await ledger.accept(newJob())).outcome).toBe('accepted');
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: 11 });
    });

    it('rings again after the doorbell lost its connection', async () => {
      const { ledger, direct, proxy } = await behindProxy();
      const again = new Promise<void>((ring) => ledger.onWork(ring));
      proxy.cutAll();
      await again;
      const work = new Promise((ring) => ledger.onEvent(ring));
      const job = newJob();
      await direct.accept(job);
      expect(await work).toEqual({ tenantId: TENANT, jobId: job.jobId });
    });

    it('survives the end of every backend in mid-flight: nothing lost, nothing twice', async () => {
      const { ledger, url, clock } = await fresh();
      const jobs = Array.from({ length: 40 }, () => newJob());
      let running = true;
      const killer = (async () => {
        // So many that a slow machine, which gets nothing done between two of them, gets done after all.
        for (let i = 0; running && i < 60; i++) {
          await query(engine().postgres.adminUrl, `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()`, [new URL(url).pathname.slice(1)]);
          await delay(15);
        }
      })();
      let unavailable = 0;
      await Promise.all(jobs.map(async (job, i) => {
        await delay(4 * i);
        await insist(() => ledger.accept(job).catch((error: unknown) => { unavailable++; throw error; }));
      }));
      running = false;
      await killer;
      expect(unavailable).toBeGreaterThan(0);
      const done = new Set<string>();
      for (let round = 0; round < 60 && done.size < jobs.length; round++) {
        const leased = await insist(() => ledger.lease({ max: 16, leaseMs: 1000, sessionId: 's' }));
        for (const l of leased) if ((await insist(() => ledger.complete({ ...l, outcome: 'completed', sessionId: 's' }))).recorded) done.add(l.jobId);
        if (leased.length === 0) clock.advance(1000);
      }
      expect(done.size).toBe(jobs.length);
      for (const table of ['jobs', 'results', 'usage']) expect(await query(url, `select 1 from ${table}`)).toHaveLength(jobs.length);
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true, entries: 1 + 2 * jobs.length });
    });

    it('loses no acknowledged job to kill -9 of the server, and goes on when it is back', async () => {
      const { ledger, url } = await fresh();
      const acknowledged: NewJob[] = [];
      const leases: LeasedJob[] = [];
      let killed = false;
      const work = Array.from({ length: 4 }, async (_, worker) => {
        for (let i = 0; i < 12; i++) {
          const job = newJob();
          await insist(async () => {
            if (worker === 0 && i === 5 && !killed) {
              killed = true;
              process.kill(engine().postgres.pid()!, 'SIGKILL');
            }
            return await ledger.accept(job);
          });
          acknowledged.push(job);
        }
      });
      await Promise.all(work);
      expect(acknowledged).toHaveLength(48);
      for (const job of acknowledged) expect(await insist(() => ledger.job(TENANT, job.jobId))).toMatchObject({ messageDigest: job.messageDigest });
      for (let got = await ledger.lease({ max: 64, leaseMs: 1000, sessionId: 's' }); got.length > 0; got = await ledger.lease({ max: 64, leaseMs: 1000, sessionId: 's' })) leases.push(...got);
      expect(new Set(leases.map((l) => l.jobId))).toEqual(new Set(acknowledged.map((j) => j.jobId)));
      expect(await query(url, 'select 1 from usage')).toHaveLength(48);
      expect(await ledger.verifyAudit()).toMatchObject({ ok: true });
    });

    it('gives up on a server that hangs, and goes on when it answers again', async () => {
      const { url, clock } = await fresh();
      const ledger = keep(await openLedger({ url, now: clock.now, cell: 'cell-a', connections: 1, patienceMs: 200 }));
      const job = newJob();
      const [backend] = await query<{ pid: number }>(url, `select pid from pg_stat_activity where application_name = 'ccc-ledger' and datname = current_database() order by backend_start desc limit 1`);
      process.kill(backend!.pid, 'SIGSTOP');
      try {
        await expect(ledger.accept(job)).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' });
        expect((await ledger.accept(job)).outcome).toBe('accepted'); // on a new connection
      } finally {
        process.kill(backend!.pid, 'SIGCONT');
      }
      expect((await ledger.accept(job)).outcome).toBe('same');
    });

    it('says that it is unavailable when nothing listens', async () => {
      const url = new URL(engine().postgres.url);
      url.port = '1';
      await expect(openLedger({ url: url.href, now: () => START, cell: 'cell-a' })).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' });
    });
  });

  describe('opening', () => {
    it('works for four gateways at once on an empty database, and again', async () => {
      const url = await engine().database();
      const opened = await Promise.all(Array.from({ length: 4 }, () => openLedger({ url, now: () => START, cell: 'cell-a', connections: 2 })));
      opened.forEach(keep);
      expect(await Promise.all(opened.map((l) => l.addTenant({ id: TENANT, zone: 'eu' })))).toContain('stored');
      expect(await query(url, 'select name from kysely_migration')).toEqual([{ name: '0001_initial' }, { name: '0002_cells' }, { name: '0003_late_jobs' }, { name: '0004_due_of_tenant' }]);
      keep(await openLedger({ url, now: () => START, cell: 'cell-a' }));
    });

    it('takes the rows of the first version along: to its own cell, at the first epoch', async () => {
      const url = await engine().database();
      const db = openKysely(openPool(url, 1, 5_000));
      try {
        await new Migrator({ db, provider: { getMigrations: async () => ({ '0001_initial': MIGRATIONS['0001_initial']! }) } }).migrateToLatest();
      } finally {
        await db.destroy();
      }
      await query(url, `
        insert into tenants values ('acme', 'eu', 1);
        insert into audit_heads values ('cell-a', 0, repeat('0', 64));
        insert into jobs (tenant_id, job_id, state, message_digest, size, zone, classification, key_id, cell, accepted_at, finished_at, attempts, events) values ('acme', 'j', 'completed', 'd', 1, 'eu', 'public', 'k', 'cell-a', 1, 2, 1, 1);
        insert into job_events values ('acme', 'j', 1, 'completed', 2, null);
        insert into results (tenant_id, job_id, outcome, sealed, cell, recorded_at) values ('acme', 'j', 'completed', '{"ct":"BBBB","enc":"AAAA"}', 'cell-a', 2);
        insert into usage values ('acme', 'j', 1, 'public', 1);
        insert into sessions values ('s', 'counter', '1', 2, 1)`);
      const ledger = keep(await openLedger({ url, now: () => START, cell: 'cell-a' }));
      expect(await ledger.job(TENANT, 'j')).toMatchObject({ state: 'completed', result: { enc: 'AAAA', ct: 'BBBB' } });
      expect(await ledger.results(TENANT, 'j')).toMatchObject([{ epoch: 1, cell: 'cell-a', standing: true }]);
      expect(await ledger.events(TENANT, 'j', 0)).toEqual([{ n: 1, event: 'completed', at: 2 }]);
      expect(await ledger.usage(TENANT)).toMatchObject({ jobs: 1, bytes: 1 });
      expect(await query(url, 'select cell from sessions union all select cell from usage')).toEqual([{ cell: 'cell-a' }, { cell: 'cell-a' }]);
    });

    it('refuses a database of a newer version', async () => {
      const { url } = await own();
      await query(url, `insert into kysely_migration values ('9999_later', 'x')`);
      await expect(openLedger({ url, now: () => START, cell: 'cell-a' })).rejects.toThrow(/9999_later/);
    });

    it('refuses a server that confirms before it has written', async () => {
      const { url } = await own();
      await query(url, `alter role ccc in database ${new URL(url).pathname.slice(1)} set synchronous_commit = off`);
      await expect(openLedger({ url, now: () => START, cell: 'cell-a' })).rejects.toMatchObject({ code: 'LEDGER_SERVER' });
    });

    it('closes once, and is unavailable afterwards', async () => {
      const { ledger } = await fresh();
      await Promise.all([ledger.close(), ledger.close()]);
      await expect(ledger.tenants()).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' });
    });
  });
}
