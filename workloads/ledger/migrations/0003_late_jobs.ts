/**
 * A cell hears of a job by two logs: that of the cell that accepted it, and that of the cell that ended it. When the second is ahead, its update finds no row and is left out
 * (PostgreSQL, logical replication, conflict `update_missing`), without an error and without a trigger; the job would stay accepted here for good. What an end
 * inserts does arrive: so the end's event ends the job, whichever of the two comes last. The token of its lease is known to the cell that ended it alone.
 */
import { type Kysely, sql } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  const run = (text: string) => sql.raw(text).execute(db);
  await run(`
    create function ccc_end_job(tenant text, job text) returns void language plpgsql set search_path from current as $end$
      begin
        -- Two logs are applied at once: the second one here sees what the first one wrote.
        perform pg_advisory_xact_lock(hashtextextended(tenant || '/' || job, 0));
        update jobs set state = e.event, code = e.detail, finished_at = e.at, due_at = null, lease_token = null, events = e.n, epoch = e.epoch, writer = e.cell,
          session_id = (select r.session_id from results r where r.tenant_id = tenant and r.job_id = job and r.epoch = e.epoch and r.cell = e.cell),
          attempts = (select count(*) from job_events l where l.tenant_id = tenant and l.job_id = job and l.event = 'leased')
        from (
          select * from job_events where tenant_id = tenant and job_id = job and event in ('completed', 'rejected', 'failed') order by epoch desc, cell collate "C" desc, n desc limit 1
        ) e
        where jobs.tenant_id = tenant and jobs.job_id = job and (jobs.epoch, jobs.writer collate "C", jobs.events) < (e.epoch, e.cell collate "C", e.n);
      end
    $end$`);
  await run(`create function ccc_late_job() returns trigger language plpgsql set search_path from current as $late$ begin perform ccc_end_job(new.tenant_id, new.job_id); return null; end $late$`);
  await run(`create trigger ccc_late after insert on jobs for each row execute function ccc_late_job()`);
  await run(`create trigger ccc_late after insert on job_events for each row when (new.event in ('completed', 'rejected', 'failed')) execute function ccc_late_job()`);
  for (const table of ['jobs', 'job_events']) await run(`alter table ${table} enable replica trigger ccc_late`);
}
