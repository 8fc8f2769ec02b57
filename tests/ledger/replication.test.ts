/** Replication both ways, and what happens where two cells wrote about one thing. Three servers, shared by the tests. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkName, readyName } from '../../workloads/ledger/replication/names.ts';
import { type Cell, type World, caughtUp, connectAll, contents, openCell, startServers, until } from './cells.ts';
import { TENANT, newJob, testClock } from './engines.ts';

const clock = testClock();
const SESSION = 's';
let world: World;
let a: Cell;
let b: Cell;
let c: Cell;
let tooEarly: unknown;
let leftBehind: unknown[];

beforeAll(async () => {
  world = await startServers(['cell-a', 'cell-b', 'cell-c']);
  a = await openCell(world, 'cell-a', clock);
  tooEarly = await a.replication.subscribe('cell-b').then(() => undefined, (error: unknown) => error);
  [b, c] = await Promise.all(['cell-b', 'cell-c'].map((name) => openCell(world, name, clock))) as [Cell, Cell];
  leftBehind = [...await a.sql('select subname from pg_subscription'), ...await b.sql('select slot_name from pg_replication_slots')];
  await a.ledger.addTenant({ id: TENANT, zone: 'eu' });
  await connectAll([a, b, c]);
});
afterAll(async () => {
  await Promise.all([a, b, c].map((cell) => cell?.close()));
  await world?.stop();
});

const held = (epoch: number) => [{ tenantId: TENANT, epoch }];
const count = async (cell: Cell, epoch: number, jobId: string, ct: string) => {
  const leases = await cell.ledger.lease({ max: 64, leaseMs: 1000, sessionId: SESSION, tenants: held(epoch) });
  for (const l of leases) if (l.jobId !== jobId) await cell.ledger.complete({ ...l, outcome: 'failed', code: 'X', sessionId: SESSION, epoch });
  const lease = leases.find((l) => l.jobId === jobId)!;
  return await cell.ledger.complete({ ...lease, outcome: 'completed', counted: true, sessionId: SESSION, epoch, result: { enc: 'AAAA', ct } });
};
const same = async (cells: readonly Cell[] = [a, b, c]) => {
  await caughtUp(cells);
  const [first, ...rest] = await Promise.all(cells.map(contents));
  for (const other of rest) expect(other).toEqual(first);
  return first!;
};
/** Nothing of `peer` is applied until `on`; both sides work on. */
const cut = async (cell: Cell, peer: Cell) => { await cell.replication.promote(peer.name); };
const on = async (cell: Cell, peer: Cell) => { expect(await cell.replication.subscribe(peer.name)).toBe('resumed'); };

describe('replication between three cells', () => {
  it('names links distinctly, in a form that slots may have', () => {
    const names = ['a-b/c', 'a/b-c', 'a/b', 'b/a', `${'x'.repeat(63)}/${'y'.repeat(63)}`, `${'x'.repeat(63)}/${'y'.repeat(62)}z`].map((pair) => pair.split('/') as [string, string]);
    expect(new Set(names.map(([from, to]) => linkName(from, to))).size).toBe(names.length);
    for (const [from, to] of names) expect(readyName(from, to)).toMatch(/^[a-z0-9_]{1,63}$/);
  });

  it('does not subscribe to a cell that publishes nothing yet: it would copy nothing, for ever', () => {
    expect(tooEarly).toMatchObject({ code: 'LEDGER_UNAVAILABLE', cause: { code: 'REPLICATION_UNPUBLISHED' } });
    expect(leftBehind).toEqual([]);
  });

  it('brings every row to every cell once, whoever wrote it, and none in circles', async () => {
    const jobs = await Promise.all([a, b, c, a, b, c].map(async (cell) => (await cell.ledger.accept(newJob(), { epoch: 1 })).job));
    await a.ledger.putSession({ id: SESSION, role: 'counter', evidence: { ear: 'x' }, expiresAt: clock.at + 1000 });
    await b.ledger.appendReceipts([{ instance: 'broker-b', seq: 1, jws: 'a.b.1', tenantId: TENANT, jobId: jobs[0]!.jobId }]);
    await c.ledger.addApiKey({ id: 'k1', tenantId: TENANT, hash: 'ff', scopes: ['jobs:read'] });
    await a.ledger.putPolicy(1, 'p.1.x');
    await a.ledger.putTenantKey({ id: 'acme.x-wing.1', alg: 'X-Wing', state: 'active', public: 'AAAA', not_after: 1, tenant_id: TENANT, zone: 'eu', cell: 'cell-a', sealed: 'BBBB', created_at: 1 });
    await caughtUp([a, b, c]);
    const answer = await count(b, 2, jobs[0]!.jobId, 'BBBB');
    expect(answer).toEqual({ recorded: true, state: 'completed' });
    const rows = await same();
    expect(rows['jobs']).toHaveLength(6);
    expect(rows['usage']).toHaveLength(6);
    for (const cell of [a, b, c]) {
      expect(await cell.ledger.job(TENANT, jobs[0]!.jobId)).toMatchObject({ state: 'completed', result: { enc: 'AAAA', ct: 'BBBB' } });
      expect(await cell.ledger.session(SESSION)).toMatchObject({ evidence: { ear: 'x' } });
      expect(await cell.ledger.receiptsFor(TENANT, jobs[0]!.jobId)).toEqual(['a.b.1']);
      expect((await cell.ledger.apiKey('k1'))?.hash).toBe('ff');
      expect(await cell.ledger.policy()).toMatchObject({ revision: 1 });
      // Every cell can check every cell's chain.
      for (const chain of [a, b, c]) expect(await cell.ledger.verifyAudit(chain.name)).toMatchObject({ ok: true, entries: (await chain.ledger.counts()).auditEntries });
      // Sealed keys stay where they were sealed.
      expect(await cell.ledger.tenantKeyCount()).toBe(cell === a ? 1 : 0);
      // Going in circles would write on and on: the log stands still once all is applied.
      expect((await cell.replication.state()).peers.map((p) => [p.state, p.incoming.state, p.incoming.errors])).toEqual([['streaming', 'streaming', 0], ['streaming', 'streaming', 0]]);
    }
    const origin = await a.sql<{ n: string }>(`select count(*) as n from pg_subscription where suborigin = 'none'`);
    expect(Number(origin[0]?.n)).toBe(2);
  });

  it('leases a copy to nobody who does not hold its tenant', async () => {
    const { job } = await a.ledger.accept(newJob(), { epoch: 2 });
    await caughtUp([a, b]);
    expect(await b.ledger.job(TENANT, job.jobId)).toMatchObject({ state: 'accepted' });
    const ask = { max: 64, leaseMs: 1000, sessionId: SESSION };
    expect(await b.ledger.lease({ ...ask, tenants: [] })).toEqual([]);
    expect(await b.ledger.lease({ ...ask, tenants: [{ tenantId: 'zeta', epoch: 9 }] })).toEqual([]);
    // Fenced: the row was written under a higher epoch.
    expect((await b.ledger.lease({ ...ask, tenants: held(1) })).map((l) => l.jobId)).not.toContain(job.jobId);
    const mine = await a.ledger.lease({ ...ask, tenants: held(2) });
    expect(mine.map((l) => l.jobId)).toContain(job.jobId);
    for (const l of mine) await a.ledger.complete({ ...l, outcome: 'completed', sessionId: SESSION, epoch: 2 });
    await same();
  });

  it('gives what a fenced cell had leased to the new holder at once, and the late completion counts nowhere', async () => {
    const { job } = await a.ledger.accept(newJob(), { epoch: 2 });
    const [lease] = await a.ledger.lease({ max: 1, leaseMs: 3_600_000, sessionId: SESSION, tenants: held(2) });
    expect(lease?.jobId).toBe(job.jobId);
    await caughtUp([a, b, c]);
    expect(await b.ledger.takeOver(held(2))).toBe(0);
    expect(await b.ledger.takeOver(held(3))).toBe(1);
    expect(await b.ledger.takeOver(held(3))).toBe(0);
    await caughtUp([a, b, c]);
    expect(await a.ledger.complete({ ...lease!, outcome: 'completed', sessionId: SESSION, epoch: 2 })).toEqual({ recorded: false, state: 'stale' });
    expect(await count(b, 3, job.jobId, 'CCCC')).toMatchObject({ recorded: true });
    const rows = await same();
    expect(rows['usage']).toHaveLength(rows['jobs']!.length);
    expect((await c.ledger.events(TENANT, job.jobId, 0)).map((e) => e.event)).toEqual(['accepted', 'leased', 'requeued', 'leased', 'counted', 'completed']);
  });

  it('keeps the result of the higher epoch where two cells completed one job, the other as superseded, and one usage row', async () => {
    const { job } = await a.ledger.accept(newJob(), { epoch: 3 });
    await caughtUp([a, b, c]);
    await cut(b, a);
    await cut(a, b);
    expect(await count(a, 3, job.jobId, 'AAAA')).toMatchObject({ recorded: true });
    expect(await b.ledger.job(TENANT, job.jobId)).toMatchObject({ state: 'accepted' });
    expect(await count(b, 4, job.jobId, 'DDDD')).toMatchObject({ recorded: true });
    await on(a, b);
    await on(b, a);
    const rows = await same();
    for (const cell of [a, b, c]) {
      expect((await cell.ledger.job(TENANT, job.jobId))?.result?.ct).toBe('DDDD');
      expect(await cell.ledger.results(TENANT, job.jobId)).toMatchObject([{ epoch: 4, cell: 'cell-b', standing: true }, { epoch: 3, cell: 'cell-a', standing: false }]);
      expect((await cell.ledger.events(TENANT, job.jobId, 0)).map((e) => e.event)).toEqual(['accepted', 'leased', 'counted', 'completed']);
    }
    expect((rows['usage'] as { job_id: string }[]).filter((u) => u.job_id === job.jobId)).toHaveLength(1);
    expect((await a.replication.state()).conflicts).toBe(0);
  });

  it('merges one job that two cut-off cells accepted, and two messages of one job raise an alarm, on every cell alike', async () => {
    const job = newJob();
    const other = newJob();
    await cut(b, a);
    await cut(a, b);
    await a.ledger.accept(job, { epoch: 4 });
    await b.ledger.accept(job, { epoch: 5 });
    await a.ledger.accept(other, { epoch: 4 });
    await b.ledger.accept({ ...other, messageDigest: 'cd'.repeat(32), size: 99 }, { epoch: 5 });
    await on(a, b);
    await on(b, a);
    const rows = await same();
    expect((rows['usage'] as { job_id: string; epoch: number; bytes: number }[]).filter((u) => u.job_id === job.jobId)).toMatchObject([{ epoch: 5, bytes: 1234 }]);
    expect((rows['usage'] as { job_id: string; epoch: number; bytes: number }[]).filter((u) => u.job_id === other.jobId)).toMatchObject([{ epoch: 5, bytes: 99 }]);
    for (const cell of [a, b, c]) {
      expect((await cell.replication.state()).peers.map((p) => p.incoming.errors)).toEqual([0, 0]);
      expect(await cell.sql('select relation, key from replication_conflicts')).toEqual([{ relation: 'jobs', key: `${TENANT}/${other.jobId}` }]);
      expect((await cell.replication.state()).alarms).toContain('CONFLICTS');
      await cell.sql('delete from replication_conflicts');
    }
  });

  it('never undoes a revocation, and never stops on rows that are there already', async () => {
    await cut(b, a);
    await cut(a, b);
    await a.ledger.revokeApiKey('k1');
    await b.ledger.addApiKey({ id: 'k2', tenantId: TENANT, hash: 'ee', scopes: [] });
    // The same row on both sides, of each kind.
    for (const cell of [a, b]) {
      await cell.ledger.addTenant({ id: 'both', zone: 'eu' });
      await cell.ledger.addApiKey({ id: 'both', tenantId: TENANT, hash: 'dd', scopes: [] });
      await cell.ledger.putPolicy(7, 'p.7.x');
      await cell.ledger.putSession({ id: 'both', role: 'counter', evidence: 1, expiresAt: clock.at });
      await cell.ledger.appendReceipt({ instance: 'both', seq: 1, jws: 'r.1.x', tenantId: TENANT });
    }
    await b.sql(`update api_keys set scopes = '{x}' where id = 'k1'`);
    await on(a, b);
    await on(b, a);
    await caughtUp([a, b, c]);
    for (const cell of [a, b, c]) {
      expect((await cell.ledger.apiKey('k1'))?.revokedAt).toBe(clock.at);
      expect((await cell.replication.state()).conflicts).toBe(0);
    }
    const { job } = await a.ledger.accept(newJob(), { epoch: 5 });
    await until(async () => (await b.ledger.job(TENANT, job.jobId)) !== undefined);
    expect((await b.replication.state()).peers.map((p) => p.incoming.errors)).toEqual([0, 0]);
  });

  it('ends a job whose end came before it, by another cell\'s log', async () => {
    const { job } = await a.ledger.accept(newJob(), { epoch: 11 });
    await cut(c, a);
    const { job: late } = await a.ledger.accept(newJob(), { epoch: 11 });
    await until(() => b.ledger.job(TENANT, late.jobId));
    expect(await count(b, 12, late.jobId, 'EEEE')).toMatchObject({ recorded: true });
    await until(async () => (await c.sql('select 1 from results where job_id = $1', [late.jobId])).length === 1);
    expect(await c.ledger.job(TENANT, late.jobId)).toBeUndefined();
    await on(c, a);
    await caughtUp([a, b, c]);
    // The token of its lease stayed where it was given.
    const rows = await Promise.all([a, b, c].map(async (cell) => (await contents(cell))['jobs']?.map((row) => ({ ...row as object, lease_token: null }))));
    expect(rows[2]).toEqual(rows[0]);
    expect(rows[1]).toEqual(rows[0]);
    expect(await c.ledger.job(TENANT, late.jobId)).toMatchObject({ state: 'completed', attempts: 1, result: { enc: 'AAAA', ct: 'EEEE' } });
    expect(await c.ledger.job(TENANT, job.jobId)).toMatchObject({ state: 'failed' });
  });
});
