/** The table of migrations, in order. One that has been released is never edited: a change is a new one. */
import type { Kysely } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import * as m0001 from './0001_initial.ts';
import * as m0002 from './0002_cells.ts';
import * as m0003 from './0003_late_jobs.ts';
import * as m0004 from './0004_due_of_tenant.ts';

export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001_initial': m0001,
  '0002_cells': m0002,
  '0003_late_jobs': m0003,
  '0004_due_of_tenant': m0004,
};

/**
 * Brings the database to the last migration. Kysely holds a session advisory lock meanwhile, so several gateways may start together;
 * a database that knows a migration which this code does not (a newer version ran) is refused.
 */
export async function migrate(db: Kysely<any>): Promise<string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...MIGRATIONS }) } });
  const { error, results } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
  return (results ?? []).map((r) => r.migrationName);
}
