/**
 * The schema of several cells that replicate to each other. Whatever two cells could both write carries epoch and cell: as part of the key where both
 * rows are kept (events, results), as the rank that decides where one row is (jobs, usage). Merging is by triggers that fire only where
 * replicated rows are applied (`enable replica trigger`): a row that is there already never is an error, so it never stops a subscription, and
 * applying rows again, in any order between cells, ends in the same rows everywhere.
 */
import { type Kysely, sql } from 'kysely';
import { mergeTriggers } from './merge.ts';

export async function up(db: Kysely<unknown>): Promise<void> {
  const run = (text: string) => sql.raw(text).execute(db);
  // A database from before has rows of one cell only: the one whose audit chain it keeps.
  await run(`
    alter table jobs add column epoch bigint not null default 1, add column writer text;
    update jobs set writer = cell;
    alter table jobs alter column writer set not null, alter column epoch drop default;
    create index jobs_leased on jobs (tenant_id) where state = 'leased';

    alter table job_events add column epoch bigint not null default 1, add column cell text;
    update job_events set cell = jobs.cell from jobs where jobs.tenant_id = job_events.tenant_id and jobs.job_id = job_events.job_id;
    alter table job_events alter column cell set not null, alter column epoch drop default,
      drop constraint job_events_pkey, add constraint job_events_pkey primary key (tenant_id, job_id, n, epoch, cell);

    alter table results add column epoch bigint not null default 1;
    alter table results alter column epoch drop default,
      drop constraint results_pkey, add constraint results_pkey primary key (tenant_id, job_id, epoch, cell);

    alter table usage add column epoch bigint not null default 1, add column cell text;
    update usage set cell = jobs.cell from jobs where jobs.tenant_id = usage.tenant_id and jobs.job_id = usage.job_id;
    alter table usage alter column cell set not null, alter column epoch drop default;

    alter table sessions add column cell text;
    update sessions set cell = coalesce((select min(cell) from audit_heads), '');
    alter table sessions alter column cell set not null;
  `);
  await run(`
    create table beats (cell text primary key, at bigint not null);
    create table replication_marks (lsn pg_lsn primary key, at bigint not null);
    create table replication_modes (cell text primary key, degraded_at bigint, reason text);
    create table replication_conflicts (relation text not null, key text not null, at bigint not null, primary key (relation, key));
    create table blob_debts (peer text not null, digest text not null, since bigint not null, primary key (peer, digest));
  `);
  for (const statement of mergeTriggers()) await run(statement);
}
