/** The queue: lease, renew, give back; completions.ts ends its jobs. The token of a lease is its fence. */
import { sql } from 'kysely';
import type { Selectable } from 'kysely';
import { b64u, randomBytes } from '../../attestation/bytes.ts';
import { type AuditRecord, appendAudit } from './audit.ts';
import { type Context, type Tx, attempt, transact } from './database.ts';
import { EVENT_CHANNEL, WORK_CHANNEL, eventPayload } from './doorbell.ts';
import { LedgerError } from './errors.ts';
import { dueJobs, epochHeld, jobsOf } from './held.ts';
import { toRecord } from './jobs.ts';
import type { HeldTenant, JobRecord, LeaseRef, LeasedJob } from './ledger.ts';
import type { JobsTable } from './schema.ts';

type JobRow = Selectable<JobsTable>;

const TOKEN_BYTES = 16;
const MAX_BATCH = 64;
const MAX_BACK_OFF_MS = 5 * 60_000;

export const EXHAUSTED = 'ATTEMPTS_EXHAUSTED';

interface LeaseRequest { readonly max: number; readonly leaseMs: number; readonly sessionId: string; readonly tenants?: readonly HeldTenant[] }

export async function lease(context: Context, request: LeaseRequest): Promise<LeasedJob[]> {
  const { max, leaseMs, tenants } = request;
  if (!Number.isInteger(max) || max < 1 || max > MAX_BATCH || !(leaseMs > 0)) throw new LedgerError('LEDGER_ARGUMENT', `max is 1 to ${MAX_BATCH}, leaseMs above 0`);
  if (tenants?.length === 0) return [];
  for (;;) {
    const rows = await transact(context.db, async (tx) => {
      // A planner that knows little of a table that has just filled up would read the whole backlog and sort it, rather than an index in its order.
      if (tenants !== undefined) await sql`select set_config('enable_bitmapscan', 'off', true)`.execute(tx);
      const taken = await take(tx, context, request);
      await appendAudit(tx, context, taken.filter((r) => r.state === 'failed').map(exhausted));
      return taken;
    });
    const leased = rows.filter((r) => r.state === 'leased');
    // A batch of nothing but used-up jobs says nothing about the ones behind it.
    if (leased.length > 0 || rows.length === 0) return leased.map(toLease);
  }
}

/** One statement. SKIP LOCKED: callers never wait for each other and never get the same row. */
async function take(tx: Tx, { now, cell, maxAttempts }: Context, { max, leaseMs, sessionId, tenants }: LeaseRequest): Promise<JobRow[]> {
  const at = now();
  const tokens = Array.from({ length: max }, () => b64u(randomBytes(TOKEN_BYTES)));
  const { rows } = await sql<JobRow>`
    with ${dueJobs(tenants, at, max)}, numbered as (
      select due.*, row_number() over () as n from due
    ), taken as (
      update jobs set
        state = case when attempts >= ${maxAttempts} then 'failed' else 'leased' end,
        code = case when attempts >= ${maxAttempts} then ${EXHAUSTED} end,
        lease_token = case when attempts >= ${maxAttempts} then null else (${tokens}::text[])[numbered.n] end,
        session_id = case when attempts >= ${maxAttempts} then session_id else ${sessionId} end,
        due_at = case when attempts >= ${maxAttempts} then null else ${at + leaseMs}::bigint end,
        finished_at = case when attempts >= ${maxAttempts} then ${at}::bigint end,
        attempts = least(attempts + 1, ${maxAttempts}),
        events = events + 1,
        epoch = numbered.epoch,
        writer = ${cell}
      from numbered where jobs.tenant_id = numbered.tenant_id and jobs.job_id = numbered.job_id
      returning jobs.*
    ), noted as (
      insert into job_events (tenant_id, job_id, n, epoch, cell, event, at, detail) select tenant_id, job_id, events, epoch, writer, state, ${at}::bigint, code from taken
    ), ended as (
      insert into results (tenant_id, job_id, outcome, code, epoch, cell, recorded_at) select tenant_id, job_id, state, code, epoch, writer, ${at}::bigint from taken where state = 'failed'
    )
    select taken.*, pg_notify(${EVENT_CHANNEL}, ${eventPayload('taken')}) from taken`.execute(tx);
  return rows;
}

/** Ends jobs that nobody will lease again; the same statement as a lease, for those rows only. */
export async function endExhausted(context: Context, tenants?: readonly HeldTenant[]): Promise<number> {
  const { db, now, cell, maxAttempts } = context;
  if (tenants?.length === 0) return 0;
  return await transact(db, async (tx) => {
    const at = now();
    const { rows } = await sql<JobRow>`
      with due as (
        select j.tenant_id, j.job_id, ${epochHeld(tenants)} as epoch from ${jobsOf(tenants)} and j.due_at <= ${at} and j.attempts >= ${maxAttempts} order by j.due_at limit 1000 for update of j skip locked
      ), taken as (
        update jobs set state = 'failed', code = ${EXHAUSTED}, lease_token = null, due_at = null, finished_at = ${at}::bigint, events = events + 1, epoch = due.epoch, writer = ${cell}
        from due where jobs.tenant_id = due.tenant_id and jobs.job_id = due.job_id
        returning jobs.*
      ), noted as (
        insert into job_events (tenant_id, job_id, n, epoch, cell, event, at, detail) select tenant_id, job_id, events, epoch, writer, state, ${at}::bigint, code from taken
      ), ended as (
        insert into results (tenant_id, job_id, outcome, code, epoch, cell, recorded_at) select tenant_id, job_id, state, code, epoch, writer, ${at}::bigint from taken
      )
      select taken.*, pg_notify(${EVENT_CHANNEL}, ${eventPayload('taken')}) from taken`.execute(tx);
    await appendAudit(tx, context, rows.map(exhausted));
    return rows.length;
  });
}

const exhausted = (row: JobRow): AuditRecord => ({
  kind: 'job-failed', body: { tenant_id: row.tenant_id, job_id: row.job_id, code: EXHAUSTED, attempts: row.attempts },
});

const toLease = (row: JobRow): LeasedJob => ({
  tenantId: row.tenant_id,
  jobId: row.job_id,
  leaseToken: row.lease_token as string,
  leaseUntil: row.due_at as number,
  attempt: row.attempts,
  messageDigest: row.message_digest,
  size: row.size,
  zone: row.zone,
  classification: row.classification,
  keyId: row.key_id,
});

/** Locks the jobs whose lease stands, in the order of their keys: two batches never wait for each other in a circle. */
const held = (leases: readonly LeaseRef[]) => sql`
  held as (
    select j.tenant_id, j.job_id from jobs j
    join unnest(${leases.map((l) => l.tenantId)}::text[], ${leases.map((l) => l.jobId)}::text[], ${leases.map((l) => l.leaseToken)}::text[])
      as mine (tenant_id, job_id, lease_token) using (tenant_id, job_id, lease_token)
    where j.state = 'leased' order by j.tenant_id, j.job_id for update of j
  )`;

/** An expired lease that nobody took yet is renewed as well: the holder still is the only one. */
export async function heartbeat({ db, now }: Context, leases: readonly LeaseRef[], leaseMs: number): Promise<string[]> {
  if (leases.length === 0) return [];
  const { rows } = await attempt(() => sql<{ tenant_id: string; job_id: string }>`
    with ${held(leases)}
    update jobs set due_at = ${now() + leaseMs} from held where jobs.tenant_id = held.tenant_id and jobs.job_id = held.job_id
    returning jobs.tenant_id, jobs.job_id`.execute(db));
  const renewed = new Set(rows.map((r) => `${r.tenant_id}/${r.job_id}`));
  return leases.filter((l) => !renewed.has(`${l.tenantId}/${l.jobId}`)).map((l) => l.jobId);
}

export async function leasedJobs({ db }: Context, leases: readonly LeaseRef[]): Promise<(JobRecord | undefined)[]> {
  if (leases.length === 0) return [];
  const { rows } = await attempt(() => sql<JobRow>`
    select j.* from jobs j
    join unnest(${leases.map((l) => l.tenantId)}::text[], ${leases.map((l) => l.jobId)}::text[], ${leases.map((l) => l.leaseToken)}::text[])
      as asked (tenant_id, job_id, lease_token) using (tenant_id, job_id, lease_token)
    where j.state = 'leased'`.execute(db));
  return leases.map((lease) => {
    const row = rows.find((r) => r.tenant_id === lease.tenantId && r.job_id === lease.jobId && r.lease_token === lease.leaseToken);
    return row && toRecord(row);
  });
}

export async function giveBack({ db, now }: Context, leases: readonly LeaseRef[], code: string, delayMs: number): Promise<string[]> {
  if (leases.length === 0) return [];
  const at = now();
  const { rows } = await attempt(() => sql<{ job_id: string }>`
    with ${held(leases)}, returned as (
      update jobs set state = 'accepted', lease_token = null, session_id = null, events = events + 1,
        due_at = ${at}::bigint + least(${delayMs}::float8 * power(2, attempts - 1), ${MAX_BACK_OFF_MS})::bigint
      from held where jobs.tenant_id = held.tenant_id and jobs.job_id = held.job_id
      returning jobs.*
    ), noted as (
      insert into job_events (tenant_id, job_id, n, epoch, cell, event, at, detail) select tenant_id, job_id, events, epoch, writer, 'requeued', ${at}::bigint, ${code}::text from returned
    )
    select job_id, pg_notify(${WORK_CHANNEL}, ''), pg_notify(${EVENT_CHANNEL}, ${eventPayload('returned')}) from returned`.execute(db));
  return rows.map((r) => r.job_id);
}
