/** Puts the parts of the ledger together over one pool of connections. */
import { sql } from 'kysely';
import { ensureHead, verifyAudit } from './audit.ts';
import { type Context, type Db, attempt, openKysely, openPool } from './database.ts';
import * as figures from './counts.ts';
import { openDoorbell } from './doorbell.ts';
import { LedgerError, LedgerUnavailable } from './errors.ts';
import * as jobs from './jobs.ts';
import * as completions from './completions.ts';
import * as leases from './leases.ts';
import type { Ledger, LedgerOptions } from './ledger.ts';
import { takeOver, undrained } from './held.ts';
import { migrate } from './migrations/index.ts';
import * as records from './records.ts';

const MAX_ATTEMPTS = 10;
const CONNECTIONS = 8;
const PATIENCE_MS = 10_000;
const OLDEST_SERVER = 150_000;

/**
 * Connects, migrates, and refuses a server that may lose what it confirmed.
 * @throws LedgerUnavailable when it cannot be reached, LedgerError LEDGER_SERVER when it is too old or not durable.
 */
export async function openLedger({ url, now, cell, maxAttempts = MAX_ATTEMPTS, connections = CONNECTIONS, patienceMs = PATIENCE_MS, replication }: LedgerOptions): Promise<Ledger> {
  const db = openKysely(openPool(url, connections, patienceMs, replication !== undefined));
  const context: Context = { db, now, cell, maxAttempts };
  try {
    await attempt(async () => {
      await checkServer(db);
      await migrate(db);
      await ensureHead(db, cell);
    });
  } catch (error) {
    await db.destroy().catch(() => {});
    throw error;
  }
  const doorbell = openDoorbell(url);
  const { addTenant, tenant, tenants, addApiKey, apiKey, revokeApiKey, putTenantKeys, tenantKeys, tenantKeyCount, appendReceipts, receiptsFor, putSession, session, putPolicy, policy } = records;

  const bound = <A extends unknown[], R>(call: (context: Context, ...args: A) => R) => (...args: A): R => call(context, ...args);
  let closing: Promise<void> | undefined;
  return {
    addTenant: bound(addTenant),
    tenant: bound(tenant),
    tenants: bound(tenants),
    addApiKey: bound(addApiKey),
    apiKey: bound(apiKey),
    revokeApiKey: bound(revokeApiKey),
    async accept(job, how = {}) {
      if (how.tier === 'sync' && replication === undefined) throw new LedgerUnavailable(new LedgerError('STANDBY_ABSENT', 'No standby is set up for jobs of tier sync.'));
      await replication?.admit(how.tier ?? 'async');
      const answer = await jobs.accept(context, job, how);
      // `same`, too: the first attempt's wait may have ended before the standby had the job.
      if (how.tier === 'sync' && answer.outcome !== 'conflict') await replication?.reached(how.standby);
      return answer;
    },
    lease: bound(leases.lease),
    heartbeat: bound(leases.heartbeat),
    leasedJobs: bound(leases.leasedJobs),
    giveBack: bound(leases.giveBack),
    complete: bound(completions.complete),
    completeAll: bound(completions.completeAll),
    takeOver: bound(takeOver),
    results: bound(jobs.results),
    job: bound(jobs.job),
    undrained: bound(undrained),
    jobs: bound(jobs.jobs),
    events: bound(jobs.events),
    recordEvent: bound(jobs.recordEvent),
    recordEvents: bound(jobs.recordEvents),
    putTenantKeys: bound(putTenantKeys),
    putTenantKey: (key) => putTenantKeys(context, [key]),
    tenantKeys: bound(tenantKeys),
    tenantKeyCount: bound(tenantKeyCount),
    appendReceipts: bound(appendReceipts),
    appendReceipt: (receipt) => appendReceipts(context, [receipt]),
    receiptsFor: bound(receiptsFor),
    putSession: bound(putSession),
    session: bound(session),
    putPolicy: bound(putPolicy),
    policy: bound(policy),
    usage: bound(figures.usage),
    counts: bound(figures.counts),
    addNote: bound(records.addNote),
    sweep: bound(figures.sweep),
    verifyAudit: (cell) => attempt(() => verifyAudit(context, cell)),
    onWork: doorbell.onWork,
    onEvent: doorbell.onEvent,
    close: () => (closing ??= Promise.all([doorbell.close(), db.destroy()]).then(() => {})),
  };
}

/** An acknowledged job is on disk: a server that is set up to confirm earlier is no ledger. */
async function checkServer(db: Db): Promise<void> {
  const { rows } = await sql<{ version: string; fsync: string; commit: string }>`
    select current_setting('server_version_num') as version, current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit`.execute(db);
  const server = rows[0];
  if (server === undefined || Number(server.version) < OLDEST_SERVER) throw new LedgerError('LEDGER_SERVER', `PostgreSQL 15 or newer is needed, this is ${server?.version}.`);
  if (server.fsync !== 'on' || server.commit === 'off') {
    throw new LedgerError('LEDGER_SERVER', `This server may lose what it confirmed: fsync is ${server.fsync}, synchronous_commit is ${server.commit}; both must be on.`);
  }
}
