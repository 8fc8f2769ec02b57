/** The PostgreSQL servers that the ledger's tests run on: one per test file, one database per test. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
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
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function query<R extends pg.QueryResultRow = pg.QueryResultRow>(url: string, text: string, values: unknown[] = []): Promise<R[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  try {
    return (await client.query<R>(text, values)).rows;
  } finally {
    await client.end().catch(() => {});
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
