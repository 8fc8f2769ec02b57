/** A server whose role may not say what the server waits for, as the clouds' managed databases have it: tier sync waits all the same. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nameStandbys, openStandby } from '../../workloads/ledger/replication/standby.ts';
import { openServer, type Server } from '../../workloads/ledger/replication/server.ts';
import { type Cell, type World, connectAll, openCell, startServers, until } from './cells.ts';
import { testClock } from './engines.ts';

const clock = testClock();
let world: World;
let a: Cell;
let b: Cell;
let url: string;
let managed: Server;

const named = async (): Promise<string | undefined> => (await a.sql<{ v: string }>(`select current_setting('synchronous_standby_names') as v`))[0]?.v;
const rename = async (value: string): Promise<void> => {
  await a.sql(`alter system set synchronous_standby_names = '${value}'`);
  await a.sql('select pg_reload_conf()');
  await until(async () => await named() === value);
};

beforeAll(async () => {
  world = await startServers(['cell-a', 'cell-b']);
  a = await openCell(world, 'cell-a', clock);
  b = await openCell(world, 'cell-b', clock);
  await connectAll([a, b]);
  await a.sql(`create role managed login password 'managed' nosuperuser`);
  // What the services give: statistics of others, nothing of the server's own files.
  await a.sql('grant pg_monitor to managed');
  url = Object.assign(new URL(a.postgres.url), { username: 'managed', password: 'managed' }).href;
  managed = openServer(url);
});
afterAll(async () => {
  await managed?.close();
  await Promise.all([a, b].map((cell) => cell?.close()));
  await world?.stop();
});

describe('a role without ALTER SYSTEM', () => {
  it('the server refuses, and that is an answer, every time; the setting stays empty', async () => {
    await expect(managed.query(`alter system set synchronous_standby_names = 'x'`)).rejects.toMatchObject({ code: '42501' });
    expect(await nameStandbys(managed, 'cell-a', ['cell-b'])).toBe(false);
    expect(await nameStandbys(managed, 'cell-a', ['cell-b'])).toBe(false);
    expect(await named()).toBe('');
    // Nothing to name: nothing to change.
    expect(await nameStandbys(managed, 'cell-a', [])).toBe(true);
  });

  it('the wait compares positions: it ends with the standby, and not without', async () => {
    const standby = openStandby({ url, server: managed, cell: 'cell-a', peers: ['cell-b'], patienceMs: 800 });
    try {
      await standby.reached();
      const [worker] = await until(async () => { const rows = await b.sql<{ pid: number }>('select pid from pg_stat_subscription where pid is not null'); return rows.length > 0 && rows; });
      process.kill(worker!.pid, 'SIGSTOP');
      try {
        await expect(standby.reached()).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' });
      } finally {
        process.kill(worker!.pid, 'SIGCONT');
      }
      await until(async () => standby.reached().then(() => true, () => false));
    } finally {
      await standby.close();
    }
  });

  it('a setting of somebody else that it cannot change is an error', async () => {
    await rename('someone');
    try {
      await expect(nameStandbys(managed, 'cell-a', ['cell-b'])).rejects.toMatchObject({ code: '42501' });
    } finally {
      await rename('');
    }
  });

  it('what is no refusal of rights is an error too', async () => {
    const failing = (code: string): Server => ({ ...managed, query: async <R extends Record<string, unknown>>(text: string) => { if (text.startsWith('alter')) throw Object.assign(new Error('refused'), { code }); return [{ value: '' }] as unknown as R[]; } });
    await expect(nameStandbys(failing('53100'), 'cell-a', ['cell-b'])).rejects.toMatchObject({ code: '53100' });
    expect(await nameStandbys(failing('0A000'), 'cell-a', ['cell-b'])).toBe(false);
  });

  it('a role that may names them', async () => {
    const own = openServer(a.postgres.url);
    try {
      expect(await nameStandbys(own, 'cell-a', ['cell-b'])).toBe(true);
      await until(async () => /^ANY 1 \("ccc_cell_a_cell_b_[0-9a-f]{8}_ok"\)$/.test(await named() ?? ''));
    } finally {
      await own.close();
      await rename('');
    }
  });
});
