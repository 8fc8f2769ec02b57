/** The PostgreSQL servers that the ledger's tests run on: one per test file, one database per test. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { isUnavailable } from '../../workloads/ledger/errors.ts';
import { type Ledger, type LedgerOptions, type NewJob, openLedger } from '../../workloads/ledger/ledger.ts';
import { type Postgres, startPostgres } from '../../workloads/ledger/postgres.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { randomUUID } from 'node:crypto';

const DEBIAN = '/usr/lib/postgresql/15/bin';
export const debianBinaries = { postgres: join(DEBIAN, 'postgres'), initdb: join(DEBIAN, 'initdb') };
export const debianIsHere = existsSync(debianBinaries.postgres) && existsSync(debianBinaries.initdb);

export const silent = createLog('test', { write: () => {} });

export interface Engine {
  readonly postgres: Postgres;
  /** The address of a new, empty database. */
  database(): Promise<string>;
  stop(): Promise<void>;
}

export async function startEngine(binaries?: { postgres: string; initdb: string }): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-ledger-'));
  const postgres = await startPostgres({ folder, log: silent, ...(binaries === undefined ? {} : { binaries }) });
  let n = 0;
  return {
    postgres,
    database: async () => {
      const name = `t${++n}`;
      await query(postgres.url, `create database ${name}`);
      const url = new URL(postgres.url);
      url.pathname = `/${name}`;
      return url.href;
    },
    stop: async () => {
      for (const pool of pools.values()) await pool.end();
      pools.clear();
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const pools = new Map<string, pg.Pool>();

function poolOf(url: string): pg.Pool {
  let pool = pools.get(url);
  if (pool === undefined) {
    pool = new pg.Pool({ connectionString: url, max: 3, allowExitOnIdle: true, application_name: 'ccc-test' });
    pool.on('error', () => {});
    pool.on('connect', (client) => client.on('error', () => {}));
    pools.set(url, pool);
  }
  return pool;
}

/** A statement past the ledger, over a connection that is kept. */
export async function query<R extends pg.QueryResultRow = pg.QueryResultRow>(url: string, text: string, values: unknown[] = []): Promise<R[]> {
  for (let tries = 1; ; tries++) {
    try {
      return (await poolOf(url).query<R>(text, values)).rows;
    } catch (error) {
      // The test before may have killed this connection too.
      if (!isUnavailable(error) || tries >= 3) throw error;
    }
  }
}

export const START = 1_800_000_000_000;
export const testClock = (at = START) => {
  const clock = { at, now: () => clock.at, advance: (ms: number) => { clock.at += ms; } };
  return clock;
};

export const TENANT = 'acme';
export const newJob = (over: Partial<NewJob> = {}): NewJob => ({
  tenantId: TENANT, jobId: randomUUID(), messageDigest: 'ab'.repeat(32), size: 1234, zone: 'eu', classification: 'confidential', keyId: 'acme.x-wing.1', ...over,
});

/** A ledger with the tenant in it. */
export async function openTest(url: string, options: Partial<LedgerOptions> = {}): Promise<{ ledger: Ledger; clock: ReturnType<typeof testClock>; url: string }> {
  const clock = testClock();
  const ledger = await openLedger({ url, now: clock.now, cell: 'cell-a', ...options });
  await ledger.addTenant({ id: TENANT, zone: 'eu' });
  return { ledger, clock, url };
}
