/** Tier async: lag measured and bounded, what is lost is exactly what was not replicated, and every way back. Two servers. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkName } from '../../workloads/ledger/replication/names.ts';
import { startPostgres } from '../../workloads/ledger/postgres.ts';
import { openReplication } from '../../workloads/ledger/replication.ts';
import { type Cell, type World, caughtUp, connectAll, contents, openCell, startServers, until } from './cells.ts';
import { TENANT, debianBinaries, debianIsHere, newJob, silent, testClock } from './engines.ts';

const clock = testClock();
const LAG = { bytes: 1_000_000, seconds: 30, beyond: 'refuse' } as const;
let world: World;
let a: Cell;
let b: Cell;

beforeAll(async () => {
  world = await startServers(['cell-a', 'cell-b']);
  [a, b] = [await openCell(world, 'cell-a', clock, { lag: LAG }), await openCell(world, 'cell-b', clock)];
  await a.ledger.addTenant({ id: TENANT, zone: 'eu' });
  await connectAll([a, b]);
});
afterAll(async () => {
  await Promise.all([a, b].map((cell) => cell?.close()));
  await world?.stop();
});

const accept = async (cell: Cell, n: number, epoch: number) => (await Promise.all(Array.from({ length: n }, () => cell.ledger.accept(newJob(), { epoch })))).map(({ job }) => job.jobId);
const idsIn = async (cell: Cell) => new Set((await cell.sql<{ job_id: string }>('select job_id from jobs')).map((r) => r.job_id));
const there = async (cell: Cell) => (await cell.replication.state()).peers[0]!;
/** The subscriber's connection is stopped as a network that swallows everything would. */
const freeze = async (cell: Cell) => {
  const [worker] = await cell.sql<{ pid: number }>('select pid from pg_stat_subscription where pid is not null and relid is null');
  process.kill(worker!.pid, 'SIGSTOP');
  return () => process.kill(worker!.pid, 'SIGCONT');
};

describe('tier async', () => {
  it('measures how far behind the peer is, in bytes and in seconds, and when the peer was last heard', async () => {
    await a.replication.beat();
    await caughtUp([a, b]);
    expect(await there(a)).toMatchObject({ peer: 'cell-b', state: 'streaming', synced: true, lagSeconds: 0 });
    expect((await there(b)).incoming).toMatchObject({ state: 'streaming', whole: true, heardAt: clock.at });
    const thaw = await freeze(b);
    try {
      clock.advance(1_000);
      await a.replication.beat();
      await accept(a, 5, 1);
      clock.advance(7_000);
      const behind = await there(a);
      expect(behind).toMatchObject({ state: 'streaming', synced: false, lagSeconds: 7 });
      expect(behind.lagBytes).toBeGreaterThan(1_000);
      // At the peer: no word for eight seconds.
      expect(clock.at - (await there(b)).incoming.heardAt!).toBe(8_000);
      expect(await b.replication.heardAll(5_000)).toBe(false);
    } finally {
      thaw();
    }
    await caughtUp([a, b]);
    await a.replication.beat();
    await until(async () => (await there(a)).lagSeconds === 0 && (await b.replication.heardAll(0)));
  });

  it('refuses jobs beyond the bound, or raises an alarm only, as the operator chose; within it again it goes on', async () => {
    const thaw = await freeze(b);
    try {
      await a.replication.beat();
      await accept(a, 1, 1);
      clock.advance(31_000);
      await until(async () => (await a.replication.state()).alarms.includes('LAG'));
      await until(() => a.ledger.accept(newJob(), { epoch: 1 }).then(() => false, (error: { code?: string }) => error.code === 'REPLICATION_LAG'));
    } finally {
      thaw();
    }
    await until(() => a.ledger.accept(newJob(), { epoch: 1 }).then(() => true));
    expect((await a.replication.state()).alarms).toEqual([]);
    const lenient = await openCell(world, 'cell-a', clock, { lag: { ...LAG, bytes: 1, beyond: 'alarm' } });
    const again = await freeze(b);
    try {
      expect((await lenient.ledger.accept(newJob(), { epoch: 1 })).outcome).toBe('accepted');
      expect((await lenient.ledger.accept(newJob(), { epoch: 1 })).outcome).toBe('accepted');
      expect((await lenient.replication.state()).alarms).toContain('LAG');
    } finally {
      again();
      await lenient.close();
    }
  });

  it('after kill -9, exactly what was not replicated is missing; it is there again when the old primary is back, and counts once', async () => {
    const before = await accept(a, 10, 1);
    await caughtUp([a, b]);
    await b.replication.promote('cell-a');
    // Nothing gets through from here on: these are the jobs that a kill loses.
    const lost = await accept(a, 10, 1);
    await a.replication.beat();
    a.kill();
    const here = await idsIn(b);
    expect(before.every((id) => here.has(id))).toBe(true);
    expect(lost.filter((id) => here.has(id))).toEqual([]);
    // Half of them are sent again by their clients, to the new primary, and counted there.
    const messages = new Map(lost.map((id) => [id, newJob({ jobId: id })]));
    for (const id of lost.slice(0, 5)) await b.ledger.accept(messages.get(id)!, { epoch: 2 });
    const held = [{ tenantId: TENANT, epoch: 2 }];
    await b.ledger.takeOver(held);
    for (let leases = await b.ledger.lease({ max: 64, leaseMs: 60_000, sessionId: 's', tenants: held }); leases.length > 0; leases = await b.ledger.lease({ max: 64, leaseMs: 60_000, sessionId: 's', tenants: held })) {
      for (const lease of leases) await b.ledger.complete({ ...lease, outcome: 'completed', sessionId: 's', epoch: 2 });
    }
    // Its server is up again in a moment.
    expect(await until(() => b.replication.subscribe('cell-a'))).toBe('resumed');
    await until(async () => (await there(a)).incoming.state === 'streaming');
    await caughtUp([a, b]);
    expect(await contents(a)).toEqual(await contents(b));
    for (const cell of [a, b]) {
      const states = await Promise.all(lost.map((id) => cell.ledger.job(TENANT, id)));
      expect(states.map((job) => job?.state)).toEqual([...Array(5).fill('completed'), ...Array(5).fill('accepted')]);
      expect((await cell.sql('select 1 from usage where job_id = any($1)', [lost]))).toHaveLength(10);
      expect((await cell.replication.state()).conflicts).toBe(0);
    }
  });

  it('goes on by itself after either server was stopped and started', async () => {
    for (const name of ['cell-a', 'cell-b']) {
      const [down, up] = name === 'cell-a' ? [a, b] : [b, a];
      await world.servers.get(name)!.stop();
      const jobs = await accept(up, 3, 3);
      if (name === 'cell-b') expect((await a.replication.state()).alarms).toContain('PEER_DOWN');
      const url = world.servers.get(name)!.url;
      expect((await world.restart(name)).url).toBe(url);
      await until(async () => { const known = await idsIn(down); return jobs.every((id) => known.has(id)); });
      await until(async () => (await there(up)).state === 'streaming');
    }
    await caughtUp([a, b]);
    expect(await contents(a)).toEqual(await contents(b));
  });

  it('copies anew over what is there when the slot was given up', async () => {
    await b.replication.promote('cell-a');
    const jobs = await accept(a, 3, 3);
    await a.sql('select pg_drop_replication_slot($1)', [linkName('cell-a', 'cell-b')]);
    expect(await there(a)).toMatchObject({ state: 'absent', lagBytes: undefined, synced: false });
    expect(await b.replication.subscribe('cell-a')).toBe('recopied');
    await until(() => b.replication.whole('cell-a'));
    await caughtUp([a, b]);
    const known = await idsIn(b);
    expect(jobs.every((id) => known.has(id))).toBe(true);
    expect(await contents(a)).toEqual(await contents(b));
    expect((await b.replication.state()).conflicts).toBe(0);
  });

  it('lets a cell that lost its disk come back empty: the other one copies to it, its own old rows and chain included', async () => {
    const before = await contents(b);
    await b.close();
    await world.servers.get('cell-b')!.stop();
    await rm(join(world.folder, 'cell-b'), { recursive: true, force: true });
    await a.replication.forget('cell-b');
    await world.restart('cell-b');
    b = await openCell(world, 'cell-b', clock);
    await a.close();
    a = await openCell(world, 'cell-a', clock);
    expect(await b.replication.subscribe('cell-a')).toBe('created');
    await until(() => b.replication.whole('cell-a'));
    expect(await a.replication.subscribe('cell-b')).toBe('recopied');
    await connectAll([a, b]);
    expect(await contents(b)).toEqual(before);
    expect(await contents(a)).toEqual(before);
    await accept(b, 2, 4);
    await caughtUp([a, b]);
    expect(await contents(a)).toEqual(await contents(b));
    for (const cell of [a, b]) for (const chain of ['cell-a', 'cell-b']) expect(await cell.ledger.verifyAudit(chain)).toMatchObject({ ok: true });
  });

  it('is no standby before its copy is whole, and ends without a trace', async () => {
    expect(await b.replication.unsubscribe('cell-a')).toBe(true);
    await expect(b.replication.promote('cell-a')).rejects.toMatchObject({ code: 'REPLICATION_INCOMPLETE' });
    expect(await a.sql('select slot_name from pg_replication_slots')).toEqual([]);
    expect(await b.sql('select 1 from pg_subscription')).toEqual([]);
    expect(await b.replication.unsubscribe('cell-a')).toBe(true);
    await expect(b.replication.subscribe('cell-x')).rejects.toMatchObject({ code: 'REPLICATION_PEER' });
  });

  it('gives the ledger\'s role no more than it needs, and peers no more than reading', async () => {
    expect(await a.sql(`select rolname, rolsuper, rolcreaterole, rolreplication, rolbypassrls from pg_roles where rolname in ('ccc', 'ccc_peer') order by 1`)).toEqual([
      { rolname: 'ccc', rolsuper: false, rolcreaterole: false, rolreplication: false, rolbypassrls: false },
      { rolname: 'ccc_peer', rolsuper: false, rolcreaterole: false, rolreplication: true, rolbypassrls: false },
    ]);
    const rights = await a.sql<{ t: string }>(`select table_name || ' ' || privilege_type as t from information_schema.role_table_grants where grantee = 'ccc_peer' and privilege_type <> 'SELECT'`);
    expect(rights).toEqual([]);
    const [keys] = await a.sql<{ ok: boolean }>(`select has_table_privilege('ccc_peer', 'tenant_keys', 'select') as ok`);
    expect(keys?.ok).toBe(false);
  });

  it('has a primary key as identity on each replicated table, and no sequence', async () => {
    expect(await a.sql(`select c.relname from pg_publication_tables p join pg_class c on c.relname = p.tablename where c.relreplident <> 'd' or not exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary)`)).toEqual([]);
    expect(await a.sql(`select 1 from pg_class where relkind = 'S'`)).toEqual([]);
    const outside = await a.sql<{ t: string }>(`select tablename as t from pg_tables where schemaname = 'public' and tablename not in (select tablename from pg_publication_tables) order by 1`);
    expect(outside.map((r) => r.t)).toEqual(['blob_debts', 'kysely_migration', 'kysely_migration_lock', 'replication_conflicts', 'replication_marks', 'replication_modes', 'tenant_keys']);
  });
});

describe('PostgreSQL 15', () => {
  it.skipIf(!debianIsHere)('is refused, by the server\'s start and by the set-up', async () => {
    const folder = join(world.folder, 'fifteen');
    await expect(startPostgres({ folder, log: silent, binaries: debianBinaries, replication: true })).rejects.toMatchObject({ code: 'REPLICATION_SERVER' });
    const fifteen = await startPostgres({ folder, log: silent, binaries: debianBinaries });
    const replication = openReplication({ url: fifteen.url, peerUrl: fifteen.url, cell: 'cell-f', peers: [{ name: 'cell-a', url: a.postgres.peerUrl! }], now: clock.now });
    try {
      await expect(replication.prepare()).rejects.toMatchObject({ code: 'REPLICATION_SERVER' });
      await expect(replication.subscribe('cell-a')).rejects.toMatchObject({ code: 'REPLICATION_SERVER' });
    } finally {
      await replication.close();
      await fifteen.stop();
    }
  });
});
