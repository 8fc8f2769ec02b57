/** Figures, and what is tidied up now and then. */
import { sql } from 'kysely';
import { JOB_STATES, type JobState } from '../protocol/messages.ts';
import { type Context, attempt } from './database.ts';
import { endExhausted } from './leases.ts';
import type { Counts, HeldTenant, SweepAnswer, Usage } from './ledger.ts';

/** A session that is over is kept this long; one that a result rests on, for ever. Another cell's is its own to remove: its results may be on their way. */
const SESSION_KEPT_MS = 24 * 3_600_000;

const zeros = (): Record<JobState, number> => Object.fromEntries(JOB_STATES.map((state) => [state, 0])) as Record<JobState, number>;

export async function usage({ db }: Context, tenantId: string): Promise<Usage> {
  const rows = await attempt(() => db.selectFrom('usage')
    .innerJoin('jobs', (j) => j.onRef('jobs.tenant_id', '=', 'usage.tenant_id').onRef('jobs.job_id', '=', 'usage.job_id'))
    .select((e) => ['jobs.state', e.fn.countAll<number>().as('jobs'), sql<number>`sum(usage.bytes)::bigint`.as('bytes')])
    .where('usage.tenant_id', '=', tenantId).groupBy('jobs.state').execute());
  const byState = zeros();
  for (const row of rows) byState[row.state] = row.jobs;
  return { jobs: rows.reduce((n, r) => n + r.jobs, 0), bytes: rows.reduce((n, r) => n + r.bytes, 0), byState };
}

export async function counts({ db, now, cell }: Context): Promise<Counts> {
  return await attempt(async () => {
    const states = await db.selectFrom('jobs').select((e) => ['state', e.fn.countAll<number>().as('n')]).groupBy('state').execute();
    const rest = await db.selectNoFrom((e) => [
      e.selectFrom('jobs').select((q) => q.fn.countAll<number>().as('n')).where('due_at', '<=', now()).as('due'),
      e.selectFrom('jobs').select((q) => q.fn.min<number | null>('due_at').as('at')).where('due_at', '<=', now()).as('oldestDueAt'),
      e.selectFrom('tenants').select((q) => q.fn.countAll<number>().as('n')).as('tenants'),
      e.selectFrom('audit_heads').select('seq').where('cell', '=', cell).as('auditEntries'),
    ]).executeTakeFirstOrThrow();
    const jobs = zeros();
    for (const row of states) jobs[row.state] = row.n;
    return { jobs, due: rest.due ?? 0, ...(rest.oldestDueAt === null ? {} : { oldestDueAt: rest.oldestDueAt }), tenants: rest.tenants ?? 0, auditEntries: rest.auditEntries ?? 0 };
  });
}

export async function sweep(context: Context, tenants?: readonly HeldTenant[]): Promise<SweepAnswer> {
  const { db, now, cell } = context;
  const exhausted = await endExhausted(context, tenants);
  const { numDeletedRows } = await attempt(() => db.deleteFrom('sessions').where('cell', '=', cell).where('expires_at', '<', now() - SESSION_KEPT_MS)
    .where((e) => e.not(e.exists(e.selectFrom('results').select('results.job_id').whereRef('results.session_id', '=', 'sessions.id'))))
    .where((e) => e.not(e.exists(e.selectFrom('jobs').select('jobs.job_id').whereRef('jobs.session_id', '=', 'sessions.id').where('jobs.due_at', 'is not', null))))
    .executeTakeFirstOrThrow());
  return { exhausted, sessions: Number(numDeletedRows), due: (await counts(context)).due };
}
