/** Accepting jobs and reading them. */
import { sql } from 'kysely';
import type { JoinBuilder, Selectable } from 'kysely';
import { canonicalJson } from '../../attestation/canonical.ts';
import type { Sealed } from '../protocol/messages.ts';
import { appendAuditCtes } from './audit.ts';
import { type Context, type Db, attempt, transact } from './database.ts';
import { EVENT_CHANNEL, WORK_CHANNEL, eventPayload } from './doorbell.ts';
import { LedgerError } from './errors.ts';
import type { AcceptAnswer, AcceptHow, JobEventRecord, JobFilter, JobRecord, JobResult, NewJob } from './ledger.ts';
import type { Database, JobsTable } from './schema.ts';

type JobRow = Selectable<JobsTable>;

/** Of a cell without peers, where nobody leases epochs. */
export const FIRST_EPOCH = 1;

export function toRecord(row: JobRow, sealed?: string | null): JobRecord {
  return {
    tenantId: row.tenant_id,
    jobId: row.job_id,
    state: row.state,
    messageDigest: row.message_digest,
    size: row.size,
    zone: row.zone,
    classification: row.classification,
    keyId: row.key_id,
    acceptedAt: row.accepted_at,
    attempts: row.attempts,
    ...(row.code === null ? {} : { code: row.code }),
    ...(row.finished_at === null ? {} : { finishedAt: row.finished_at }),
    ...(row.session_id === null ? {} : { sessionId: row.session_id }),
    ...(sealed === null || sealed === undefined ? {} : { result: JSON.parse(sealed) as Sealed }),
  };
}

/** One statement, so one transaction: the job, and only when it is new its usage row, its first event, its audit entry and the doorbells. */
export async function accept(context: Context, job: NewJob, { epoch = FIRST_EPOCH }: AcceptHow = {}): Promise<AcceptAnswer> {
  const { db, now, cell } = context;
  const at = now();
  const body = canonicalJson({
    tenant_id: job.tenantId, job_id: job.jobId, message_digest: job.messageDigest, size: job.size, zone: job.zone, classification: job.classification, key_id: job.keyId,
  });
  return await attempt(async () => {
    const { rows } = await sql<JobRow>`
      with job as (
        insert into jobs (tenant_id, job_id, state, message_digest, size, zone, classification, key_id, cell, accepted_at, due_at, attempts, events, epoch, writer)
        values (${job.tenantId}, ${job.jobId}, 'accepted', ${job.messageDigest}, ${job.size}, ${job.zone}, ${job.classification}, ${job.keyId}, ${cell},
                ${at}, ${at}, 0, 1, ${epoch}, ${cell})
        on conflict do nothing
        returning *
      ), used as (
        insert into usage (tenant_id, job_id, bytes, classification, at, epoch, cell) select tenant_id, job_id, size, classification, accepted_at, epoch, cell from job
      ), noted as (
        insert into job_events (tenant_id, job_id, n, epoch, cell, event, at) select tenant_id, job_id, events, epoch, writer, 'accepted', accepted_at from job
      ), ${appendAuditCtes(context, { of: 'job', kind: 'job-accepted', body: sql`${body}::text` })}
      select job.*, pg_notify(${WORK_CHANNEL}, ''), pg_notify(${EVENT_CHANNEL}, ${eventPayload('job')}) from job`.execute(db);
    const row = rows[0];
    if (row !== undefined) return { outcome: 'accepted' as const, job: toRecord(row) };
    // A statement of its own: it sees the job of whoever was first.
    const found = await select(db, job.tenantId, job.jobId);
    if (found === undefined) throw new LedgerError('LEDGER_INCONSISTENT', 'A job that conflicts cannot be read.');
    return { outcome: found.messageDigest === job.messageDigest ? ('same' as const) : ('conflict' as const), job: found };
  });
}

/** The result that stands is of the epoch and cell that the job's row names. */
export const standing = (j: JoinBuilder<Database, 'jobs' | 'results'>) =>
  j.onRef('results.tenant_id', '=', 'jobs.tenant_id').onRef('results.job_id', '=', 'jobs.job_id').onRef('results.epoch', '=', 'jobs.epoch').onRef('results.cell', '=', 'jobs.writer');

async function select(db: Db, tenantId: string, jobId: string): Promise<JobRecord | undefined> {
  const row = await db.selectFrom('jobs')
    .leftJoin('results', standing)
    .selectAll('jobs').select('results.sealed')
    .where('jobs.tenant_id', '=', tenantId).where('jobs.job_id', '=', jobId)
    .executeTakeFirst();
  return row === undefined ? undefined : toRecord(row, row.sealed);
}

export async function results({ db }: Context, tenantId: string, jobId: string): Promise<JobResult[]> {
  const rows = await attempt(() => db.selectFrom('results').innerJoin('jobs', (j) => j.onRef('jobs.tenant_id', '=', 'results.tenant_id').onRef('jobs.job_id', '=', 'results.job_id'))
    .selectAll('results').select(['jobs.epoch as stands', 'jobs.writer'])
    .where('results.tenant_id', '=', tenantId).where('results.job_id', '=', jobId).orderBy('results.epoch', 'desc').orderBy('results.cell', 'desc').execute());
  return rows.map((r) => ({
    epoch: r.epoch, cell: r.cell, outcome: r.outcome, ...(r.code === null ? {} : { code: r.code }), ...(r.sealed === null ? {} : { sealed: r.sealed }),
    recordedAt: r.recorded_at, standing: r.epoch === r.stands && r.cell === r.writer,
  }));
}

export const job = ({ db }: Context, tenantId: string, jobId: string): Promise<JobRecord | undefined> => attempt(() => select(db, tenantId, jobId));

export async function jobs({ db }: Context, tenantId: string, { state, limit, before }: JobFilter): Promise<JobRecord[]> {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) throw new LedgerError('LEDGER_ARGUMENT', 'limit is 1 to 1000');
  return await attempt(async () => {
    let query = db.selectFrom('jobs').selectAll().where('tenant_id', '=', tenantId);
    if (state !== undefined) query = query.where('state', '=', state);
    if (before !== undefined) {
      query = query.where(({ refTuple, selectFrom }) => sql<boolean>`${refTuple('accepted_at', 'job_id')} < ${
        selectFrom('jobs as last').select(['last.accepted_at', 'last.job_id']).where('last.tenant_id', '=', tenantId).where('last.job_id', '=', before)}`);
    }
    const rows = await query.orderBy('accepted_at', 'desc').orderBy('job_id', 'desc').limit(limit).execute();
    return rows.map((row) => toRecord(row));
  });
}

export async function events({ db }: Context, tenantId: string, jobId: string, after: number): Promise<JobEventRecord[]> {
  const rows = await attempt(() => db.selectFrom('job_events').select(['n', 'event', 'at', 'detail'])
    .where('tenant_id', '=', tenantId).where('job_id', '=', jobId).where('n', '>', after)
    // One history: a cell of a higher epoch went on from what it knew, and what another did after that does not count.
    .where(({ not, exists, selectFrom }) => not(exists(selectFrom('job_events as later').select('later.n').where(sql<boolean>`
      later.tenant_id = job_events.tenant_id and later.job_id = job_events.job_id and later.n <= job_events.n
      and (later.epoch, later.cell collate "C") > (job_events.epoch, job_events.cell collate "C")`))))
    .orderBy('n').execute());
  return rows.map(({ n, event, at, detail }) => ({ n, event, at, ...(detail === null ? {} : { detail }) }));
}

export interface JobName { readonly tenantId: string; readonly jobId: string }

/**
 * One transaction for all of them. Once per lease: repeating the note after a lost answer adds none.
 * @returns which are still open, in the order given
 */
export async function recordEvents({ db, now }: Context, jobs: readonly JobName[], event: 'released' | 'counted', detail?: string): Promise<boolean[]> {
  if (jobs.length === 0) return [];
  const named = sql`unnest(${jobs.map((j) => j.tenantId)}::text[], ${jobs.map((j) => j.jobId)}::text[]) as named (tenant_id, job_id)`;
  const open = await transact(db, async (tx) => {
    // Locked in the order of their keys: two batches never wait for each other in a circle. A note decides nothing, so it need not wait for the disk.
    const { rows } = await sql<{ tenant_id: string; job_id: string }>`
      select tenant_id, job_id, set_config('synchronous_commit', 'off', true) from jobs
      where (tenant_id, job_id) in (select tenant_id, job_id from ${named}) and state in ('accepted', 'leased')
      order by tenant_id, job_id for update`.execute(tx);
    // A statement of its own: it sees what was noted while the rows were waited for. What is not open is not locked, and stays as it is.
    if (rows.length > 0) await sql`
      with fresh as (
        select j.tenant_id, j.job_id from jobs j
        join unnest(${rows.map((r) => r.tenant_id)}::text[], ${rows.map((r) => r.job_id)}::text[]) as locked (tenant_id, job_id) using (tenant_id, job_id)
        where ${event} is distinct from (
          select e.event from job_events e where e.tenant_id = j.tenant_id and e.job_id = j.job_id and e.event in ('leased', ${event}) order by e.n desc limit 1)
      ), noted as (
        update jobs set events = events + 1 from fresh where jobs.tenant_id = fresh.tenant_id and jobs.job_id = fresh.job_id returning jobs.*
      ), written as (
        insert into job_events (tenant_id, job_id, n, epoch, cell, event, at, detail) select tenant_id, job_id, events, epoch, writer, ${event}, ${now()}::bigint, ${detail ?? null}::text from noted
      )
      select pg_notify(${EVENT_CHANNEL}, ${eventPayload('noted')}) from noted`.execute(tx);
    return new Set(rows.map((r) => `${r.tenant_id}/${r.job_id}`));
  });
  return jobs.map((j) => open.has(`${j.tenantId}/${j.jobId}`));
}

export const recordEvent = async (context: Context, tenantId: string, jobId: string, event: 'released' | 'counted', detail?: string): Promise<boolean> =>
  (await recordEvents(context, [{ tenantId, jobId }], event, detail))[0] === true;
