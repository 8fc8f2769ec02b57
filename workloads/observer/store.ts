/**
 * What an observer promised, in a PostgreSQL schema of its own: one row of JSON per tenant, on disk before the answer leaves. One decision at a time, even
 * with two processes on one database. The state belongs to the observer's key: a key whose state is gone must not promise any more, so it is refused.
 */
import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import { z } from 'zod';
import { openPool } from '../ledger/database.ts';
import { namingSchema } from '../protocol/epoch.ts';
import type { Row } from './core.ts';

interface Tables {
  'observer.promises': { tenant: string; state: string };
  'observer.identity': { key: string };
}

const CONNECTIONS = 3;
const PATIENCE_MS = 5_000;
const CHUNK = 2_000;

const rowSchema: z.ZodType<Row> = z.strictObject({
  tenant: z.string(), epoch: z.number().int(), cell: z.string(), to: z.string().optional(), at: z.number(),
  instances: z.record(z.string(), z.strictObject({ epoch: z.number().int(), exp: z.number(), released: z.boolean() })),
  named: z.strictObject({ cell: z.string(), by: z.record(z.string(), namingSchema.extend({ exp: z.number() })) }).optional(),
});

export interface Store {
  /** Rows of these tenants; what `work` returns as changed is durable when this resolves. */
  decide<T>(tenants: readonly string[], work: (rows: ReadonlyMap<string, Row>) => { changed: ReadonlyMap<string, Row>; answer: T }): Promise<T>;
  /** Rows as they are, for looks. */
  read(tenants: readonly string[]): Promise<ReadonlyMap<string, Row>>;
  close(): Promise<void>;
}

export class StateLost extends Error {
  override readonly name = 'StateLost';
  readonly code = 'OBSERVER_STATE_LOST';
}

/**
 * @param key the observer's public key, base64url
 * @param fresh the key was made just now, so there is nothing to remember yet
 * @throws StateLost when the state of this key is not there; Error for a server that confirms before it has written
 */
export async function openStore({ url, key, fresh }: { url: string; key: string; fresh: boolean }): Promise<Store> {
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: openPool(url, CONNECTIONS, PATIENCE_MS) }) });
  try {
    await prepare(db, key, fresh);
  } catch (error) {
    await db.destroy().catch(() => {});
    throw error;
  }
  return {
    decide: (tenants, work) => db.transaction().execute(async (tx) => {
      // On this server's disk; whether a replica of it has it is no matter, and must not be waited for.
      await sql`set local synchronous_commit = local`.execute(tx);
      await sql`select pg_advisory_xact_lock(hashtext('ccc-observer'))`.execute(tx);
      const { changed, answer } = work(await rowsOf(tx, tenants));
      for (const chunk of chunks([...changed.values()])) {
        await tx.insertInto('observer.promises').values(chunk.map((row) => ({ tenant: row.tenant, state: JSON.stringify(row) })))
          .onConflict((conflict) => conflict.column('tenant').doUpdateSet({ state: (eb) => eb.ref('excluded.state') })).execute();
      }
      return answer;
    }),
    read: (tenants) => rowsOf(db, tenants),
    close: () => db.destroy(),
  };
}

async function rowsOf(db: Kysely<Tables> | Transaction<Tables>, tenants: readonly string[]): Promise<ReadonlyMap<string, Row>> {
  const { rows } = await sql<{ state: string }>`select state from observer.promises where tenant = any(${[...tenants]}::text[])`.execute(db);
  return new Map(rows.map(({ state }) => rowSchema.parse(JSON.parse(state))).map((row) => [row.tenant, row]));
}

function chunks<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / CHUNK) }, (_, i) => all.slice(i * CHUNK, (i + 1) * CHUNK));
}

async function prepare(db: Kysely<Tables>, key: string, fresh: boolean): Promise<void> {
  const { rows: [server] } = await sql<{ fsync: string }>`select current_setting('fsync') as fsync`.execute(db);
  if (server?.fsync !== 'on') throw new Error('This server may lose what it confirmed: fsync must be on.');
  await db.transaction().execute(async (tx) => {
    await sql`select pg_advisory_xact_lock(hashtext('ccc-observer'))`.execute(tx);
    await sql`create schema if not exists observer`.execute(tx);
    await sql`create table if not exists observer.promises (tenant text primary key, state text not null)`.execute(tx);
    await sql`create table if not exists observer.identity (key text primary key)`.execute(tx);
    const known = await tx.selectFrom('observer.identity').select('key').execute();
    if (known.some((row) => row.key === key)) return;
    if (!fresh || known.length > 0) throw new StateLost('This database does not hold what this observer\'s key promised. Make a new key with --init in an empty database and have the owner list it.');
    await tx.insertInto('observer.identity').values({ key }).execute();
  });
}
