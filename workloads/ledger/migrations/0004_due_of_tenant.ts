/**
 * A claim looks at the oldest due jobs of the tenants that are held: among the copies of all others' it would read past every one of those. The sum is
 * what makes this index the only one in that order: the planner takes `jobs_due`, and reads on and on, where it thinks that the next job is soon one of this tenant.
 */
import { type Kysely, sql } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw('create index jobs_due_of on jobs (tenant_id, (due_at + 0)) where due_at is not null').execute(db);
}
