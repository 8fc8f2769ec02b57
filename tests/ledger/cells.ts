/** Cells that replicate to each other: a server, a ledger and a replication each. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Ledger, openLedger } from '../../workloads/ledger/ledger.ts';
import { type Postgres, startPostgres } from '../../workloads/ledger/postgres.ts';
import { type LagBound, type Replication, openReplication } from '../../workloads/ledger/replication.ts';
import { type testClock, query, silent } from './engines.ts';

export interface Cell {
  readonly name: string;
  readonly postgres: Postgres;
  readonly ledger: Ledger;
  readonly replication: Replication;
  /** As the server's superuser, in the ledger's database. */
  sql<R extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<R[]>;
  kill(): void;
  close(): Promise<void>;
}

/** Real waiting for real servers: up to `ms`. */
export async function until<T>(what: () => Promise<T | undefined | false>, ms = 90_000): Promise<T> {
  for (const end = Date.now() + ms; ;) {
    const found = await what().catch((error: unknown) => { if (Date.now() > end) throw error; return undefined; });
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`it did not happen: ${what.toString()}`);
    await delay(25);
  }
}

export interface World { readonly folder: string; readonly servers: ReadonlyMap<string, Postgres>; restart(name: string): Promise<Postgres>; stop(): Promise<void> }

export async function startServers(names: readonly string[]): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-cells-'));
  const start = (name: string) => startPostgres({ folder: join(folder, name), log: silent, replication: true });
  const servers = new Map(await Promise.all(names.map(async (name) => [name, await start(name)] as const)));
  return {
    folder, servers,
    restart: async (name) => {
      const postgres = await start(name);
      servers.set(name, postgres);
      return postgres;
    },
    stop: async () => {
      await Promise.all([...servers.values()].map((postgres) => postgres.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface CellOptions { readonly standbys?: readonly string[]; readonly lag?: LagBound; readonly patienceMs?: number }

export async function openCell(world: World, name: string, clock: ReturnType<typeof testClock>, { standbys, lag, patienceMs = 1_500 }: CellOptions = {}): Promise<Cell> {
  const postgres = world.servers.get(name)!;
  const peers = [...world.servers].filter(([other]) => other !== name).map(([other, { peerUrl }]) => ({ name: other, url: peerUrl! }));
  const replication = openReplication({ url: postgres.url, peerUrl: postgres.peerUrl!, cell: name, peers, patienceMs, now: clock.now, ...(standbys === undefined ? {} : { standbys }), ...(lag === undefined ? {} : { lag }) });
  const ledger = await openLedger({ url: postgres.url, now: clock.now, cell: name, connections: 4, replication });
  await replication.prepare();
  const admin = new URL(postgres.adminUrl);
  admin.pathname = new URL(postgres.url).pathname;
  return {
    name, postgres, ledger, replication,
    sql: (text, values) => query(admin.href, text, values),
    kill: () => process.kill(world.servers.get(name)!.pid()!, 'SIGKILL'),
    close: async () => {
      await ledger.close();
      await replication.close();
    },
  };
}

/** Every cell subscribes to every other, and all copies are whole. */
export async function connectAll(cells: readonly Cell[]): Promise<void> {
  const others = (cell: Cell) => cells.filter((c) => c !== cell);
  await Promise.all(cells.map(async (cell) => { for (const peer of others(cell)) await cell.replication.subscribe(peer.name); }));
  for (const cell of cells) for (const peer of others(cell)) await until(() => cell.replication.whole(peer.name));
  await caughtUp(cells);
}

/** All that was committed before this call is everywhere. */
export async function caughtUp(cells: readonly Cell[]): Promise<void> {
  for (const cell of cells) {
    const [row] = await cell.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    await until(async () => {
      const rows = await cell.sql<{ ok: boolean }>('select confirmed_flush_lsn >= $1::pg_lsn as ok from pg_replication_slots where slot_name ~ \'^ccc_\'', [row!.lsn]);
      return rows.length >= cells.length - 1 && rows.every((r) => r.ok);
    });
  }
}

export const TABLES = ['tenants', 'api_keys', 'policies', 'jobs', 'job_events', 'results', 'usage', 'receipts', 'sessions', 'audit', 'audit_heads'] as const;

/** All replicated rows, in an order of their own. */
export async function contents(cell: Cell): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const table of TABLES) found[table] = (await cell.sql<{ row: unknown }>(`select to_jsonb(t) as row from ${table} t order by to_jsonb(t)::text`)).map((r) => r.row);
  return found;
}
