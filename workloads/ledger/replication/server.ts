/** Connections for replication: its statements can't run in transactions, and some wait. */
import pg from 'pg';
import { LedgerError, LedgerUnavailable, isUnavailable } from '../errors.ts';

export type Row = pg.QueryResultRow;
export interface Server {
  query<R extends Row = Row>(text: string, values?: unknown[]): Promise<R[]>;
  quote(text: string): string;
  close(): Promise<void>;
}

const CONNECT_MS = 3_000;
const STATEMENT_MS = 20_000;

const asUnavailable = (error: unknown): unknown => (error instanceof LedgerError || !isUnavailable(error) ? error : new LedgerUnavailable(error));

/** A few connections that commit locally: a lost standby must not hold up what deals with its loss. */
export function openServer(url: string, connections = 3): Server {
  const pool = new pg.Pool({
    connectionString: url, max: connections, application_name: 'ccc-replication', connectionTimeoutMillis: CONNECT_MS, query_timeout: STATEMENT_MS, idleTimeoutMillis: 30_000,
    allowExitOnIdle: true, keepAlive: true, options: '-c synchronous_commit=local',
  });
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return {
    query: async <R extends Row>(text: string, values: unknown[] = []) => {
      try {
        // Without parameters the simple protocol, which CREATE SUBSCRIPTION and ALTER SYSTEM want.
        return (values.length === 0 ? await pool.query<R>(text) : await pool.query<R>(text, values)).rows;
      } catch (error) {
        throw asUnavailable(error);
      }
    },
    quote: (text) => pg.escapeLiteral(text),
    close: () => pool.end(),
  };
}

/** Runs `work` on a server of somebody else's and lets go of it. */
export async function visit<T>(url: string, work: (server: Server) => Promise<T>): Promise<T> {
  const server = openServer(url, 1);
  try {
    return await work(server);
  } finally {
    await server.close().catch(() => {});
  }
}
