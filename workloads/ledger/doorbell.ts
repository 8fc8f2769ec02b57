/**
 * LISTEN/NOTIFY as a doorbell: it says that there may be something to see, nothing more. Its connection may be lost at any time; a
 * new one is made, and then it rings once, because it may have missed something.
 */
import { type RawBuilder, sql } from 'kysely';
import pg from 'pg';

export const WORK_CHANNEL = 'ccc_work';
export const EVENT_CHANNEL = 'ccc_event';

/** `tenant/job` of each row of a table expression. */
export const eventPayload = (table: string): RawBuilder<string> => sql`${sql.ref(`${table}.tenant_id`)} || '/' || ${sql.ref(`${table}.job_id`)}`;

const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 5_000;

export interface Doorbell {
  onWork(callback: () => void): () => void;
  onEvent(callback: (job: { tenantId: string; jobId: string }) => void): () => void;
  close(): Promise<void>;
}

/** Does not wait for the connection: a ledger without a doorbell works. */
export function openDoorbell(url: string): Doorbell {
  const work = new Set<() => void>();
  const event = new Set<(job: { tenantId: string; jobId: string }) => void>();
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let wait = FIRST_DELAY_MS;
  let closed = false;

  const ringWork = () => { for (const ring of work) ring(); };
  const heard = ({ channel, payload }: pg.Notification) => {
    if (channel === WORK_CHANNEL) return ringWork();
    const [tenantId, jobId] = (payload ?? '').split('/');
    if (tenantId && jobId) for (const ring of event) ring({ tenantId, jobId });
  };

  const connect = async (): Promise<void> => {
    timer = undefined;
    const mine = new pg.Client({ connectionString: url, application_name: 'ccc-doorbell', connectionTimeoutMillis: 5_000, keepAlive: true });
    client = mine;
    let lost = false;
    const again = () => {
      if (lost || closed) return;
      lost = true;
      mine.end().catch(() => {});
      timer = setTimeout(() => void connect(), wait);
      timer.unref();
      wait = Math.min(2 * wait, LAST_DELAY_MS);
    };
    mine.on('error', again);
    mine.on('end', again);
    mine.on('notification', heard);
    try {
      await mine.connect();
      await mine.query(`listen ${WORK_CHANNEL}; listen ${EVENT_CHANNEL}`);
      wait = FIRST_DELAY_MS;
      ringWork();
    } catch {
      again();
    }
  };
  void connect();

  const subscribe = <T>(set: Set<T>) => (callback: T) => { set.add(callback); return () => { set.delete(callback); }; };
  return {
    onWork: subscribe(work),
    onEvent: subscribe(event),
    close: async () => {
      closed = true;
      clearTimeout(timer);
      await client?.end().catch(() => {});
    },
  };
}
