/** Tenants whose epoch this cell holds: only their jobs are its to lease and to end; those of others are copies. */
import { type RawBuilder, sql } from 'kysely';
import { type Context, attempt } from './database.ts';
import { EVENT_CHANNEL, WORK_CHANNEL, eventPayload } from './doorbell.ts';
import type { HeldTenant } from './ledger.ts';

const heldRows = (tenants: readonly HeldTenant[]): RawBuilder<unknown> =>
  sql`unnest(${tenants.map((t) => t.tenantId)}::text[], ${tenants.map((t) => t.epoch)}::bigint[]) as held (tenant_id, epoch)`;

/** `jobs j` as far as they are held, followed by a condition: never a job that was written under a higher epoch. */
export const jobsOf = (tenants: readonly HeldTenant[] | undefined): RawBuilder<unknown> =>
  tenants === undefined ? sql`jobs j where true` : sql`jobs j join ${heldRows(tenants)} on held.tenant_id = j.tenant_id where j.epoch <= held.epoch`;

/** Looked at for each that is taken: those that others lock just now are passed over. */
const WINDOW = 8;

/**
 * The oldest `max` due jobs, locked: `tenant_id`, `job_id`, `epoch` to write. With tenants, each one's oldest are read from an index of their own: what it costs grows with
 * neither the backlog nor the copies of what other cells hold, whatever the planner knows of the table.
 */
export function dueJobs(tenants: readonly HeldTenant[] | undefined, at: number, max: number): RawBuilder<unknown> {
  if (tenants === undefined) return sql`due as (select j.tenant_id, j.job_id, j.epoch from jobs j where j.due_at <= ${at} order by j.due_at limit ${max} for update of j skip locked)`;
  return sql`
    oldest as materialized (
      select k.*, held.epoch from ${heldRows(tenants)} cross join lateral (
        select j.tenant_id, j.job_id, j.due_at from jobs j where j.tenant_id = held.tenant_id and j.epoch <= held.epoch and j.due_at is not null and j.due_at + 0 <= ${at} order by j.due_at + 0 limit ${max * WINDOW}
      ) k order by k.due_at limit ${max * WINDOW}
    ), due as (
      select j.tenant_id, j.job_id, oldest.epoch from oldest join jobs j on j.tenant_id = oldest.tenant_id and j.job_id = oldest.job_id
      where j.epoch <= oldest.epoch and j.due_at <= ${at} order by oldest.due_at limit ${max} for update of j skip locked
    )`;
}

/** The epoch to write beside {@link jobsOf}. */
export const epochHeld = (tenants: readonly HeldTenant[] | undefined): RawBuilder<unknown> => (tenants === undefined ? sql`j.epoch` : sql`held.epoch`);

/** The cells before are fenced by their epoch: their leases need not run out. */
export async function takeOver({ db, now, cell }: Context, tenants: readonly HeldTenant[]): Promise<number> {
  if (tenants.length === 0) return 0;
  const at = now();
  const { rows } = await attempt(() => sql`
    with held as (
      select j.tenant_id, j.job_id, held.epoch from jobs j join ${heldRows(tenants)} on held.tenant_id = j.tenant_id
      where j.state = 'leased' and j.epoch < held.epoch order by j.tenant_id, j.job_id for update of j
    ), returned as (
      update jobs set state = 'accepted', lease_token = null, session_id = null, due_at = ${at}::bigint, events = events + 1, epoch = held.epoch, writer = ${cell}
      from held where jobs.tenant_id = held.tenant_id and jobs.job_id = held.job_id
      returning jobs.*
    ), noted as (
      insert into job_events (tenant_id, job_id, n, epoch, cell, event, at, detail) select tenant_id, job_id, events, epoch, writer, 'requeued', ${at}::bigint, 'FAILOVER' from returned
    )
    select job_id, pg_notify(${WORK_CHANNEL}, ''), pg_notify(${EVENT_CHANNEL}, ${eventPayload('returned')}) from returned`.execute(db));
  // Jobs that came as copies rang for nobody: counters that wait look once more.
  await attempt(() => sql`select pg_notify(${WORK_CHANNEL}, '')`.execute(db));
  return rows.length;
}

/** Stops at a tenant's first such job; looks at open jobs only, of which a drained tenant has none that old. */
export async function undrained({ db }: Context, since: readonly { readonly tenantId: string; readonly at: number }[]): Promise<string[]> {
  if (since.length === 0) return [];
  const { rows } = await attempt(() => sql<{ tenant_id: string }>`
    select since.tenant_id from unnest(${since.map((one) => one.tenantId)}::text[], ${since.map((one) => one.at)}::bigint[]) as since (tenant_id, at)
    where exists (select 1 from jobs j where j.tenant_id = since.tenant_id and j.due_at is not null and j.accepted_at <= since.at)`.execute(db));
  return rows.map((row) => row.tenant_id);
}
