/** A look into the cell's database that survives the database's crashes, and a lock that holds its transactions at a chosen step. */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

const PATIENCE_MS = 90_000;

export interface Look {
  /** Again and again while the server is away: reading twice is harmless. */
  rows<R extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<R[]>;
  close(): Promise<void>;
}

async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000, query_timeout: 5_000, application_name: 'ccc-test' });
  client.on('error', () => {});
  await client.connect();
  return client;
}

export function lookInto(url: string): Look {
  let client: pg.Client | undefined;
  return {
    async rows<R extends pg.QueryResultRow>(text: string, values: unknown[] = []) {
      for (const deadline = performance.now() + PATIENCE_MS; ;) {
        try {
          client ??= await connected(url);
          return (await client.query<R>(text, values)).rows;
        } catch (error) {
          client?.end().catch(() => {});
          client = undefined;
          if (performance.now() > deadline) throw error;
          await delay(50);
        }
      }
    },
    close: async () => void (await client?.end().catch(() => {})),
  };
}

/**
 * Holds the head of the audit chain. Every transaction that accepts, stores receipts or completes locks it last, so it then waits with
 * everything else done and nothing committed.
 */
export async function holdAudit(url: string): Promise<() => Promise<void>> {
  const client = await connected(url);
  await client.query('begin');
  await client.query('select 1 from audit_heads for update');
  return async () => {
    await client.query('rollback').catch(() => {}); // a server that was killed has let go already
    await client.end().catch(() => {});
  };
}

/** Whether a transaction that has written to this table waits for a lock. */
export async function isHeld(look: Look, table: 'usage' | 'receipts' | 'results'): Promise<boolean> {
  const found = await look.rows(
    `select 1 from pg_stat_activity a join pg_locks l using (pid)
     where a.wait_event_type = 'Lock' and l.relation = $1::regclass and l.mode = 'RowExclusiveLock' and l.granted`, [table]);
  return found.length > 0;
}

export async function lastEvent(look: Look, jobId: string): Promise<string | undefined> {
  return (await look.rows<{ event: string }>('select event from job_events where job_id = $1 order by n desc limit 1', [jobId]))[0]?.event;
}
