/** The ends of jobs. The fence: only the holder of the token that the job has now, only while it is leased. The primary key of `results` is the second one. */
import { createHash } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import { canonicalJson } from '../../attestation/canonical.ts';
import type { Sealed } from '../protocol/messages.ts';
import { appendAudit, appendAuditCtes } from './audit.ts';
import { type Context, type Db, attempt, transact } from './database.ts';
import { EVENT_CHANNEL, eventPayload } from './doorbell.ts';
import { LedgerError } from './errors.ts';
import { standing } from './jobs.ts';
import type { CompleteAnswer, Completion } from './ledger.ts';

/** One spelling per sealed result, so that a repeated completion can be compared. */
const sealedText = (sealed: Sealed | undefined): string | null => (sealed === undefined ? null : canonicalJson({ ct: sealed.ct, enc: sealed.enc }));

const nameOf = ({ tenantId, jobId }: Pick<Completion, 'tenantId' | 'jobId'>): string => `${tenantId}/${jobId}`;

/** Without `attempts`, which the job's row knows, and which sorts before all others. */
function entryOf(c: Completion): Record<string, unknown> {
  const sealed = sealedText(c.result);
  return {
    tenant_id: c.tenantId, job_id: c.jobId, session: c.sessionId, ...(c.code === undefined ? {} : { code: c.code }),
    ...(sealed === null ? {} : { result_digest: createHash('sha256').update(sealed).digest('hex') }),
  };
}

/** CTEs, the last one `done`: the jobs that ended. They are locked in the order of their keys: two batches never wait for each other in a circle. */
function ending({ now, cell }: Context, all: readonly Completion[]): RawBuilder<unknown> {
  const at = now();
  const asked = sql`unnest(
    ${all.map((c) => c.tenantId)}::text[], ${all.map((c) => c.jobId)}::text[], ${all.map((c) => c.leaseToken)}::text[], ${all.map((c) => c.epoch ?? null)}::bigint[], ${all.map((c) => c.outcome)}::text[],
    ${all.map((c) => c.code ?? null)}::text[], ${all.map((c) => sealedText(c.result))}::text[], ${all.map((c) => c.sessionId)}::text[], ${all.map((c) => c.counted === true)}::boolean[]
  ) as asked (tenant_id, job_id, lease_token, epoch, outcome, code, sealed, session_id, counted)`;
  return sql`
    held as (
      select asked.* from jobs j join ${asked} on asked.tenant_id = j.tenant_id and asked.job_id = j.job_id and asked.lease_token = j.lease_token
      where j.state = 'leased' and j.epoch <= coalesce(asked.epoch, j.epoch) order by j.tenant_id, j.job_id for update of j
    ), done as (
      update jobs set state = held.outcome, code = held.code, due_at = null, finished_at = ${at}::bigint, session_id = held.session_id, events = events + case when held.counted then 2 else 1 end,
        epoch = coalesce(held.epoch, jobs.epoch), writer = ${cell}
      from held where jobs.tenant_id = held.tenant_id and jobs.job_id = held.job_id
      returning jobs.*, held.sealed, held.counted
    ), result as (
      insert into results (tenant_id, job_id, outcome, code, sealed, session_id, epoch, cell, recorded_at)
      select tenant_id, job_id, state, code, sealed, session_id, epoch, writer, ${at}::bigint from done
    ), noted as (
      insert into job_events (tenant_id, job_id, n, epoch, cell, event, at, detail) select tenant_id, job_id, events, epoch, writer, state, ${at}::bigint, code from done
      union all select tenant_id, job_id, events - 1, epoch, writer, 'counted', ${at}::bigint, null from done where counted
    )`;
}

/** One statement, so one transaction. */
export async function complete(context: Context, c: Completion): Promise<CompleteAnswer> {
  const body = sql<string>`'{"attempts":' || done.attempts || ${`,${canonicalJson(entryOf(c)).slice(1)}`}::text`;
  return await attempt(async () => {
    const { rows } = await sql`
      with ${ending(context, [c])}, ${appendAuditCtes(context, { of: 'done', kind: `job-${c.outcome}`, body })}
      select pg_notify(${EVENT_CHANNEL}, ${eventPayload('done')}) from done`.execute(context.db);
    return rows.length > 0 ? { recorded: true, state: c.outcome } : await repeated(context.db, c);
  });
}

/** Several share a commit, and the chain's head is locked once for all. */
export async function completeAll(context: Context, all: readonly Completion[]): Promise<CompleteAnswer[]> {
  const [only, ...others] = all;
  if (only === undefined) return [];
  if (others.length === 0) return [await complete(context, only)];
  if (new Set(all.map(nameOf)).size < all.length) throw new LedgerError('LEDGER_ARGUMENT', 'a job ends once');
  const done = await transact(context.db, async (tx) => {
    const { rows } = await sql<{ tenant_id: string; job_id: string; attempts: number }>`
      with ${ending(context, all)} select tenant_id, job_id, attempts, pg_notify(${EVENT_CHANNEL}, ${eventPayload('done')}) from done`.execute(tx);
    const attempts = new Map(rows.map((row) => [nameOf({ tenantId: row.tenant_id, jobId: row.job_id }), row.attempts]));
    const ended = all.filter((c) => attempts.has(nameOf(c)));
    await appendAudit(tx, context, ended.map((c) => ({ kind: `job-${c.outcome}`, body: { attempts: attempts.get(nameOf(c)), ...entryOf(c) } })));
    return new Set(ended);
  });
  return await Promise.all(all.map((c) => (done.has(c) ? { recorded: true, state: c.outcome } : attempt(() => repeated(context.db, c)))));
}

async function repeated(db: Db, c: Completion): Promise<CompleteAnswer> {
  const row = await db.selectFrom('jobs').innerJoin('results', standing)
    .select(['jobs.state', 'results.outcome', 'results.code', 'results.sealed'])
    .where('jobs.tenant_id', '=', c.tenantId).where('jobs.job_id', '=', c.jobId).where('jobs.lease_token', '=', c.leaseToken)
    .executeTakeFirst();
  if (row === undefined) return { recorded: false, state: 'stale' };
  const same = row.outcome === c.outcome && row.code === (c.code ?? null) && row.sealed === sealedText(c.result);
  return same ? { recorded: true, again: true, state: row.state } : { recorded: false, state: row.state };
}
