/** Tier sync: what is acknowledged is on the standby's disk. Two servers, killed with -9 now and then. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Blobs, digestOf, openBlobs } from '../../workloads/ledger/blobs.ts';
import type { NewJob } from '../../workloads/ledger/ledger.ts';
import { type PeerStore, type ReplicatedBlobs, replicateBlobs } from '../../workloads/ledger/replicated-blobs.ts';
import { BY_POLICY } from '../../workloads/ledger/replication.ts';
import { type Cell, type World, caughtUp, connectAll, contents, openCell, startServers, until } from './cells.ts';
import { TENANT, newJob, testClock } from './engines.ts';

const clock = testClock();
const SYNC = { epoch: 1, tier: 'sync' } as const;
let world: World;
let a: Cell;
let b: Cell;
let folder: string;
let storeA: Blobs;
let storeB: Blobs;
let blobs: ReplicatedBlobs;
/** The standby's store, as A reaches it. */
let reachable = true;
const peerStore: PeerStore = {
  name: 'cell-b',
  put: async (digest, data) => { if (!reachable || await storeB.put(data) !== digest) throw new Error('not reached'); },
  get: async (digest) => { if (!reachable) throw new Error('not reached'); return await storeB.has(digest) ? storeB.get(digest) : undefined; },
};

beforeAll(async () => {
  world = await startServers(['cell-a', 'cell-b']);
  a = await openCell(world, 'cell-a', clock, { standbys: ['cell-b'], patienceMs: 800 });
  b = await openCell(world, 'cell-b', clock);
  for (const cell of [a, b]) await cell.ledger.addTenant({ id: TENANT, zone: 'eu' });
  folder = await mkdtemp(join(tmpdir(), 'ccc-stores-'));
  storeA = await openBlobs({ folder: join(folder, 'a') });
  storeB = await openBlobs({ folder: join(folder, 'b') });
  blobs = replicateBlobs({ own: storeA, peers: [peerStore], debts: a.replication.debts, standbys: ['cell-b'], degraded: a.replication.isDegraded });
});
afterAll(async () => {
  await blobs?.close();
  await Promise.all([a, b].map((cell) => cell?.close()));
  await world?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** As the gateway does it: bytes first, then the job. */
async function submit(text: string, over: Partial<NewJob> = {}) {
  const data = new TextEncoder().encode(text);
  const messageDigest = await blobs.put(data, { tier: 'sync' });
  return await a.ledger.accept(newJob({ messageDigest, size: data.length, ...over }), SYNC);
}
const unavailable = { code: 'LEDGER_UNAVAILABLE' };

describe('tier sync', () => {
  it('is refused without a standby, with one that is not whole, and by name with one that is no peer', async () => {
    await expect(b.ledger.accept(newJob(), SYNC)).rejects.toMatchObject(unavailable);
    // Connected, but its copy is not known to be whole: its position says nothing about rows of tables still being copied.
    await a.replication.requireStandbys();
    await b.replication.subscribe('cell-a');
    const job = newJob();
    await expect(a.ledger.accept(job, SYNC)).rejects.toMatchObject(unavailable);
    expect((await a.replication.state()).alarms).toContain('STANDBY_DOWN');
    await connectAll([a, b]);
    expect((await a.ledger.accept(job, SYNC)).outcome).toBe('same');
    await expect(a.ledger.accept(job, { ...SYNC, standby: 'cell-x' })).rejects.toMatchObject(unavailable);
    expect((await a.replication.state()).alarms).toEqual([]);
  });

  it('answers once the standby has job, usage, events and audit entry, and the server itself waits for it', async () => {
    const [setting] = await a.sql<{ v: string }>(`select current_setting('synchronous_standby_names') as v`);
    expect(setting?.v).toMatch(/^ANY 1 \("ccc_cell_a_cell_b_[0-9a-f]{8}_ok"\)$/);
    expect(await a.sql('select sync_state from pg_stat_replication')).toEqual([{ sync_state: 'quorum' }]);
    for (let i = 0; i < 5; i++) {
      const { job } = await submit(`message ${i}`);
      // At once, without waiting: that is the promise.
      expect(await b.sql('select 1 as one from jobs join usage using (tenant_id, job_id) join job_events using (tenant_id, job_id) where job_id = $1', [job.jobId])).toEqual([{ one: 1 }]);
      expect(await b.sql(`select 1 as one from audit where cell = 'cell-a' and body like '%' || $1 || '%'`, [job.jobId])).toEqual([{ one: 1 }]);
      expect(await storeB.get(job.messageDigest)).toEqual(await storeA.get(job.messageDigest));
    }
    const many = await Promise.all(Array.from({ length: 40 }, () => a.ledger.accept(newJob(), SYNC)));
    const found = await b.sql<{ n: string }>('select count(*) as n from jobs where job_id = any($1)', [many.map((m) => m.job.jobId)]);
    expect(Number(found[0]?.n)).toBe(40);
  });

  it('stops at 503 when the standby is killed: nothing is acknowledged that it lacks, repeated or not, until it is back', async () => {
    const acknowledged: NewJob[] = [];
    const refused: NewJob[] = [];
    const work = Promise.all(Array.from({ length: 4 }, async (_, worker) => {
      for (let i = 0; i < 6; i++) {
        const job = newJob();
        if (worker === 0 && i === 2) b.kill();
        await a.ledger.accept(job, SYNC).then(() => acknowledged.push(job), (error: { code?: string }) => { expect(error.code).toBe('LEDGER_UNAVAILABLE'); refused.push(job); });
        if (refused.length > 8) break;
      }
    }));
    await work;
    expect(acknowledged.length).toBeGreaterThan(0);
    // Server B starts by itself; all that was acknowledged is on its disk.
    const rows = await until(() => b.sql<{ job_id: string }>('select job_id from jobs'));
    expect(rows.map((r) => r.job_id)).toEqual(expect.arrayContaining(acknowledged.map((j) => j.jobId)));
    // Whoever was refused repeats, and is acknowledged with the standby only.
    for (const job of refused) {
      await until(async () => (await a.ledger.accept(job, SYNC)).outcome);
      expect(await b.ledger.job(TENANT, job.jobId)).toMatchObject({ state: 'accepted' });
    }
    expect((await a.ledger.usage(TENANT)).jobs).toBe((await a.sql('select 1 from jobs')).length);
  });

  it('a cancelled wait has committed, so the same job waits again and again; async jobs and everything else never wait', async () => {
    const job = newJob();
    // The standby hangs: connected, and silent.
    const [worker] = await b.sql<{ pid: number }>('select pid from pg_stat_subscription where pid is not null');
    process.kill(worker!.pid, 'SIGSTOP');
    try {
      await expect(a.ledger.accept(job, SYNC)).rejects.toMatchObject(unavailable);
      expect(await a.ledger.job(TENANT, job.jobId)).toMatchObject({ state: 'accepted' });
      expect(await b.ledger.job(TENANT, job.jobId)).toBeUndefined();
      await expect(a.ledger.accept(job, SYNC)).rejects.toMatchObject(unavailable);
      // Cancelled by the operator in the middle of the wait: PostgreSQL calls that a success.
      const again = expect(a.ledger.accept(job, SYNC)).rejects.toMatchObject(unavailable);
      await until(async () => (await a.sql<{ pid: number }>(`select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`)).length > 0);
      await again;
      await until(async () => (await a.sql(`select 1 from pg_stat_activity where wait_event = 'SyncRep'`)).length === 0);
      expect((await a.ledger.accept(newJob(), { epoch: 1 })).outcome).toBe('accepted');
      await a.ledger.addTenant({ id: 'unhurried', zone: 'eu' });
    } finally {
      process.kill(worker!.pid, 'SIGCONT');
    }
    await until(async () => (await a.ledger.accept(job, SYNC)).outcome === 'same');
    expect(await b.ledger.job(TENANT, job.jobId)).toBeDefined();
  });

  it('never says yes because no standby is named to the server', async () => {
    await a.sql(`alter system set synchronous_standby_names = ''`);
    await a.sql('select pg_reload_conf()');
    await until(async () => (await a.sql<{ v: string }>(`select current_setting('synchronous_standby_names') as v`))[0]?.v === '');
    const { job } = await a.ledger.accept(newJob(), SYNC);
    expect(await b.ledger.job(TENANT, job.jobId)).toBeDefined();
    const [worker] = await b.sql<{ pid: number }>('select pid from pg_stat_subscription where pid is not null');
    process.kill(worker!.pid, 'SIGSTOP');
    try {
      await expect(a.ledger.accept(newJob(), SYNC)).rejects.toMatchObject(unavailable);
    } finally {
      process.kill(worker!.pid, 'SIGCONT');
    }
    await a.replication.requireStandbys();
    await until(async () => (await a.sql('select 1 from pg_stat_replication where sync_state = \'quorum\'')).length === 1);
  });

  it('needs the ciphertext there, too', async () => {
    reachable = false;
    await expect(submit('unreachable')).rejects.toMatchObject({ code: 'BLOB_PEER' });
    expect(await storeA.has(digestOf(new TextEncoder().encode('unreachable')))).toBe(true);
    // Owed, so it gets there all the same.
    expect(await blobs.pay()).toBe(1);
    reachable = true;
    expect(await blobs.pay()).toBe(0);
    expect((await submit('unreachable')).outcome).toBe('accepted');
  });

  it('goes on without its standby by an explicit act only, with an alarm that a restart does not silence, and comes back by one', async () => {
    await b.replication.promote('cell-a');
    await expect(a.ledger.accept(newJob(), SYNC)).rejects.toMatchObject(unavailable);
    await a.replication.degrade('drill');
    reachable = false;
    const { job } = await submit('without');
    expect(await b.ledger.job(TENANT, job.jobId)).toBeUndefined();
    expect((await a.replication.state()).alarms).toEqual(['SYNC_DEGRADED', 'STANDBY_DOWN', 'PEER_DOWN']);
    expect((await a.replication.state()).degraded).toEqual({ at: clock.at, reason: 'drill' });
    await a.close();
    a = await openCell(world, 'cell-a', clock, { standbys: ['cell-b'], patienceMs: 800 });
    expect((await a.replication.state()).alarms).toContain('SYNC_DEGRADED');
    await expect(a.replication.restore()).rejects.toMatchObject(unavailable);
    expect(await b.replication.subscribe('cell-a')).toBe('resumed');
    reachable = true;
    await until(() => a.replication.restore().then(() => true));
    expect((await a.replication.state()).alarms).toEqual([]);
    expect(await b.ledger.job(TENANT, job.jobId)).toBeDefined();
    expect((await a.sql<{ kind: string }>(`select kind from audit where cell = 'cell-a' and kind like 'sync-%' order by seq`)).map((r) => r.kind)).toEqual(['sync-degraded', 'sync-restored']);
    expect(await a.ledger.verifyAudit()).toMatchObject({ ok: true });
  });

  it('knows from the rows which tenants a peer has whole, and which ciphertext it still owes', async () => {
    const whole = (): Promise<string[]> => a.replication.holds('cell-b', [TENANT, 'unhurried']);
    blobs = replicateBlobs({ own: storeA, peers: [peerStore], debts: a.replication.debts, standbys: ['cell-b'], degraded: a.replication.isDegraded });
    expect(await whole()).toEqual(['unhurried']);
    expect(await blobs.pay()).toBe(0);
    await caughtUp([a]);
    expect(await whole()).toEqual([TENANT, 'unhurried']);
    const owed = digestOf(new TextEncoder().encode('owed'));
    await a.ledger.accept(newJob({ messageDigest: owed }), SYNC);
    await a.replication.debts.owe(owed, ['cell-b']);
    expect(await whole()).toEqual(['unhurried']);
    await a.replication.debts.paid('cell-b', [owed]);
    expect(await whole()).toEqual([TENANT, 'unhurried']);
    await b.replication.promote('cell-a');
    await a.ledger.accept(newJob(), { epoch: 1 });
    expect(await whole()).toEqual(['unhurried']);
    await b.replication.subscribe('cell-a');
    expect(await until(async () => { const all = await whole(); return all.length === 2 && all; })).toEqual([TENANT, 'unhurried']);
  });

  it('by policy it does without the standbys that do not copy only', async () => {
    await a.replication.degrade(`${BY_POLICY}cell-b away for 5 s`);
    const without = (): Promise<boolean[]> => Promise.all([a.replication.isDegraded(), a.replication.isDegraded('cell-b')]);
    await until(async () => (await without()).join() === 'true,false');
    const { job } = await a.ledger.accept(newJob(), SYNC);
    expect(await b.ledger.job(TENANT, job.jobId)).toBeDefined();
    await b.replication.promote('cell-a');
    await until(async () => (await without()).join() === 'true,true');
    expect((await a.ledger.accept(newJob(), SYNC)).outcome).toBe('accepted');
    await b.replication.subscribe('cell-a');
    await until(() => a.replication.restore().then(() => true));
    expect(await without()).toEqual([false, false]);
  });

  it('loses nothing to kill -9 of the primary: the promoted standby has every acknowledged job with its message, and the old primary catches up', async () => {
    const acknowledged: { jobId: string; messageDigest: string }[] = [];
    let killed = false;
    await Promise.all(Array.from({ length: 4 }, async (_, worker) => {
      for (let i = 0; i < 20 && !killed; i++) {
        await submit(`kill ${worker} ${i}`).then(({ job }) => { if (!killed) acknowledged.push(job); }, () => {});
        if (worker === 0 && i === 6) { killed = true; a.kill(); }
      }
    }));
    expect(acknowledged.length).toBeGreaterThan(5);
    await b.replication.promote('cell-a');
    expect(await b.ledger.takeOver([{ tenantId: TENANT, epoch: 2 }])).toBe(0);
    const leased = new Map<string, string>();
    for (;;) {
      const leases = await b.ledger.lease({ max: 64, leaseMs: 60_000, sessionId: 's', tenants: [{ tenantId: TENANT, epoch: 2 }] });
      if (leases.length === 0) break;
      for (const lease of leases) {
        leased.set(lease.jobId, lease.messageDigest);
        expect(await b.ledger.complete({ ...lease, outcome: 'completed', sessionId: 's', epoch: 2 })).toMatchObject({ recorded: true });
      }
    }
    for (const { jobId, messageDigest } of acknowledged) {
      expect(leased.get(jobId)).toBe(messageDigest);
      expect(await storeB.has(messageDigest)).toBe(true);
      expect(await b.sql('select 1 as one from usage where job_id = $1', [jobId])).toEqual([{ one: 1 }]);
    }
    // Failback: A's server is up again by itself, gets what B did, and B what A had not sent.
    await until(async () => (await a.replication.state()).peers[0]?.incoming.state === 'streaming');
    expect(await until(() => b.replication.subscribe('cell-a'))).toBe('resumed');
    await caughtUp([a, b]);
    expect(await contents(a)).toEqual(await contents(b));
    for (const { jobId } of acknowledged) expect(await a.ledger.job(TENANT, jobId)).toMatchObject({ state: 'completed' });
    expect(await a.ledger.verifyAudit()).toMatchObject({ ok: true });
    expect(await b.ledger.verifyAudit('cell-a')).toMatchObject({ ok: true });
  });
});
