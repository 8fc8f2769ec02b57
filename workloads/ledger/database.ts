/** Connections, transactions, and what their errors mean. */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Kysely, PostgresDialect, type Transaction } from 'kysely';
import type { Clock } from '../protocol/clock.ts';
import { LedgerError, LedgerUnavailable, errorCode, isRetried, isTimeout, isUnavailable, isVoidStatement } from './errors.ts';
import type { Database } from './schema.ts';

export type Db = Kysely<Database>;
export type Tx = Transaction<Database>;

/** What every part of the ledger works with. */
export interface Context {
  readonly db: Db;
  readonly now: Clock;
  readonly cell: string;
  readonly maxAttempts: number;
}

const INT8 = 20;
const RETRIES = 6;
const CONNECT_MS = 5_000;
/** What a statement may take more at the caller's end than at the server's, so that the server's own answer comes first if it can. */
const GRACE_MS = 1_000;

/** Counts, sizes and times fit a double; `pg` would give them as strings. */
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === INT8 ? Number : pg.types.getTypeParser(oid as never, format as never)) as typeof pg.types.getTypeParser,
};

/**
 * `patienceMs`: no statement of ours takes that long; a server that hangs must not hang its callers for ever.
 * `local`: commits wait for this server's disk only, whatever standbys the server has: who wants one waits for it (replication/standby.ts).
 */
export function openPool(url: string, connections: number, patienceMs: number, local = false): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    max: connections,
    types,
    application_name: 'ccc-ledger',
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: patienceMs,
    query_timeout: patienceMs + GRACE_MS,
    idle_in_transaction_session_timeout: patienceMs,
    keepAlive: true,
    ...(local ? { options: '-c synchronous_commit=local' } : {}),
  });
  // Without listeners a connection that dies while idle, or between two statements of a transaction, would end the process.
  // The next statement on it fails by itself, and the pool replaces it.
  pool.on('error', () => {});
  pool.on('connect', (client) => {
    client.on('error', () => {});
    prepareStatements(client);
  });
  return pool;
}

/** A statement that a connection knows by name is parsed and planned there once: half of what the server does for it. */
const names = new Map<string, string>();
/** Texts with lists of varying length come in many variants: those beyond this go without a name. */
const MAX_NAMES = 256;
function nameOf(statement: string): string | undefined {
  const known = names.get(statement);
  if (known !== undefined || names.size >= MAX_NAMES) return known;
  const name = `ccc_${names.size}`;
  names.set(statement, name);
  return name;
}

/**
 * After a timeout `pg` still waits for the answer on that connection, and whoever gets it next waits too: end it. With a query under
 * way `end` cuts the connection at once. A named statement that became void (another version changed a table) ends its connection, too.
 */
function prepareStatements(client: pg.PoolClient): void {
  const query = client.query.bind(client) as (...args: unknown[]) => unknown;
  client.query = ((...args: unknown[]) => {
    const [text, values, ...rest] = args;
    const name = typeof text === 'string' && Array.isArray(values) && values.length > 0 ? nameOf(text) : undefined;
    const answer = name === undefined ? query(...args) : query({ name, text, values }, ...rest);
    if (answer instanceof Promise) answer.catch((error: unknown) => { if (isTimeout(error) || isVoidStatement(error)) (client as unknown as pg.Client).end().catch(() => {}); });
    return answer;
  }) as typeof client.query;
}

export const openKysely = (pool: pg.Pool): Db => new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });

/** Runs `work` again after a deadlock or serialization failure; names lost connections and unknown tenants. */
export async function attempt<T>(work: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await work();
    } catch (error) {
      if (isRetried(error) && n < RETRIES) {
        await delay(Math.random() * 5 * 2 ** n);
        continue;
      }
      throw named(error);
    }
  }
}

function named(error: unknown): unknown {
  if (error instanceof LedgerError) return error;
  if (isRetried(error) || isUnavailable(error)) return new LedgerUnavailable(error);
  const constraint = typeof error === 'object' && error !== null && 'constraint' in error ? String(error.constraint) : '';
  if (errorCode(error) === '23503' && constraint.endsWith('_tenant')) return new LedgerError('TENANT_UNKNOWN', 'This tenant does not exist.', { cause: error });
  return error;
}

/** One transaction. READ COMMITTED whatever the server's default: after a conflict the winner's row must be visible. */
export const transact = <T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> =>
  attempt(() => db.transaction().setIsolationLevel('read committed').execute(work));
