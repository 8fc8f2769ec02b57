/** Every table of the first version. No sequences: keys contain tenant, job, cell or instance, so rows of several cells never collide. */
import { type Kysely, sql } from 'kysely';

const JOB_KEY = ['tenant_id', 'job_id'] as const;

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema.createTable('tenants')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('zone', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('api_keys')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .addColumn('scopes', sql`text[]`, (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addForeignKeyConstraint('api_keys_tenant', ['tenant_id'], 'tenants', ['id'])
    .execute();

  await schema.createTable('jobs')
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('job_id', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull().check(sql`state in ('accepted', 'leased', 'completed', 'rejected', 'failed')`))
    .addColumn('code', 'text')
    .addColumn('message_digest', 'text', (c) => c.notNull())
    .addColumn('size', 'bigint', (c) => c.notNull())
    .addColumn('zone', 'text', (c) => c.notNull())
    .addColumn('classification', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('cell', 'text', (c) => c.notNull())
    .addColumn('accepted_at', 'bigint', (c) => c.notNull())
    .addColumn('finished_at', 'bigint')
    .addColumn('due_at', 'bigint')
    .addColumn('lease_token', 'text')
    .addColumn('session_id', 'text')
    .addColumn('attempts', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('events', 'integer', (c) => c.notNull().defaultTo(0))
    .addPrimaryKeyConstraint('jobs_pkey', [...JOB_KEY])
    .addForeignKeyConstraint('jobs_tenant', ['tenant_id'], 'tenants', ['id'])
    // A final job is never due and always dated; the other two states always have a due time.
    .addCheckConstraint('jobs_final', sql`(state in ('accepted', 'leased')) = (due_at is not null) and (due_at is null) = (finished_at is not null)`)
    .addCheckConstraint('jobs_fenced', sql`state <> 'leased' or lease_token is not null`)
    .execute();
  await schema.createIndex('jobs_due').on('jobs').column('due_at').where(sql.ref('due_at'), 'is not', null).execute();
  await schema.createIndex('jobs_newest').on('jobs').columns(['tenant_id', 'accepted_at', 'job_id']).execute();

  await schema.createTable('job_events')
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('job_id', 'text', (c) => c.notNull())
    .addColumn('n', 'integer', (c) => c.notNull())
    .addColumn('event', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('detail', 'text')
    .addPrimaryKeyConstraint('job_events_pkey', [...JOB_KEY, 'n'])
    .execute();

  await schema.createTable('results')
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('job_id', 'text', (c) => c.notNull())
    .addColumn('outcome', 'text', (c) => c.notNull().check(sql`outcome in ('completed', 'rejected', 'failed')`))
    .addColumn('code', 'text')
    .addColumn('sealed', 'text')
    .addColumn('session_id', 'text')
    .addColumn('cell', 'text', (c) => c.notNull())
    .addColumn('recorded_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('results_pkey', [...JOB_KEY])
    .execute();
  await schema.createIndex('results_session').on('results').column('session_id').execute();

  await schema.createTable('usage')
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('job_id', 'text', (c) => c.notNull())
    .addColumn('bytes', 'bigint', (c) => c.notNull())
    .addColumn('classification', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('usage_pkey', [...JOB_KEY])
    .execute();

  await schema.createTable('tenant_keys')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('body', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addForeignKeyConstraint('tenant_keys_tenant', ['tenant_id'], 'tenants', ['id'])
    .execute();
  await schema.createIndex('tenant_keys_of').on('tenant_keys').column('tenant_id').execute();

  await schema.createTable('receipts')
    .addColumn('instance', 'text', (c) => c.notNull())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('jws', 'text', (c) => c.notNull())
    .addColumn('tenant_id', 'text', (c) => c.notNull())
    .addColumn('job_id', 'text')
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('receipts_pkey', ['instance', 'seq'])
    .execute();
  await schema.createIndex('receipts_of').on('receipts').columns([...JOB_KEY]).execute();

  await schema.createTable('sessions')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('role', 'text', (c) => c.notNull())
    .addColumn('evidence', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('policies')
    .addColumn('revision', 'bigint', (c) => c.primaryKey())
    .addColumn('jws', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('audit')
    .addColumn('cell', 'text', (c) => c.notNull())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('prev', 'text', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('body', 'text', (c) => c.notNull())
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('audit_pkey', ['cell', 'seq'])
    .execute();
  await schema.createTable('audit_heads')
    .addColumn('cell', 'text', (c) => c.primaryKey())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addColumn('hash', 'text', (c) => c.notNull())
    .execute();
}
