/** What the ledger's own part of a failover costs with more and more jobs waiting: promotion and claims, on rows as copies bring them, beside as many of tenants that another cell holds. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { openLedger } from '../../workloads/ledger/ledger.ts';
import { startPostgres } from '../../workloads/ledger/postgres.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { load } from './machine.ts';
import { atMost, ms, type Section } from './section.ts';
import { spread, type Spread } from './stats.ts';

const ROUNDS = 30;
const BATCH = 8;
const LEASE_MS = 60_000;
const OLD = 1_600_000_000_000;
/** Leased by the cell that fell, for its successor to put back: a backlog of waiting jobs has few of them. */
const LEASED = 16;

interface Measured { readonly jobs: number; readonly promotion: number; readonly claim: Spread }

async function measure(server: string, jobs: number): Promise<Measured> {
  const admin = new pg.Client({ connectionString: server });
  await admin.connect();
  try {
    await admin.query(`create database waiting_${jobs}`);
  } finally {
    await admin.end();
  }
  const url = new URL(server);
  url.pathname = `/waiting_${jobs}`;
  const ledger = await openLedger({ url: url.href, now: Date.now, cell: 'here', connections: 2 });
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  try {
    for (const id of ['mine', 'theirs']) {
      await ledger.addTenant({ id, zone: 'local' });
      // Theirs are older: who looks for the oldest job meets them first.
      await client.query(`
        insert into jobs (tenant_id, job_id, state, message_digest, size, zone, classification, key_id, cell, accepted_at, due_at, lease_token, attempts, events, epoch, writer)
        select $1, gen_random_uuid()::text, case when i <= $3 then 'leased' else 'accepted' end, md5(i::text), 1000, 'local', 'confidential', 'k', 'there', $4::bigint + i, $4::bigint + i, case when i <= $3 then 'x' end, 0, 1, 1, 'there'
        from generate_series(1, $2::int) i`, [id, jobs, LEASED, id === 'mine' ? OLD + 1e9 : OLD]);
    }
    const tenants = [{ tenantId: 'mine', epoch: 2 }];
    const began = performance.now();
    if (await ledger.takeOver(tenants) !== LEASED) throw new Error('the promotion did not put back what was leased');
    const promotion = performance.now() - began;
    const times: number[] = [];
    for (let n = 0; n < ROUNDS; n++) {
      const at = performance.now();
      const leased = await ledger.lease({ max: BATCH, leaseMs: LEASE_MS, sessionId: 's', tenants });
      times.push(performance.now() - at);
      if (leased.length !== BATCH || leased.some(({ tenantId }) => tenantId !== 'mine')) throw new Error('a claim gave other jobs');
    }
    return { jobs, promotion, claim: spread(times) };
  } finally {
    await client.end();
    await ledger.close();
  }
}

/** @param sizes jobs that wait, the smallest first */
export async function ledgerGrowth(sizes: readonly number[]): Promise<Section> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-bench-ledger-'));
  try {
    const postgres = await startPostgres({ folder: join(folder, 'postgres'), log: createLog('bench', { write: () => {} }) });
    try {
      const all: Measured[] = [];
      for (const size of sizes) all.push(await measure(postgres.url, size));
      const [small, large] = [all[0], all.at(-1)];
      return {
        title: 'Promotion and claims with a backlog',
        about: [`The statements of the ledger alone, on one PostgreSQL server, milliseconds: a cell takes over a tenant with so many waiting jobs (${LEASED} of them leased by the cell before), beside as many older ones of a tenant that`, `another cell holds; then ${ROUNDS} claims of ${BATCH} jobs each.`],
        head: ['jobs waiting', 'promotion', 'claim, least', 'claim, median', 'claim, p99'],
        rows: all.map(({ jobs, promotion, claim }) => [String(jobs), ms(promotion), ms(claim.min), ms(claim.median), ms(claim.p99)]),
        goals: small === undefined || large === undefined || small === large ? [] : [atMost(`a claim with ${large.jobs} jobs waiting against ${small.jobs}, least of each, times`, large.claim.min / small.claim.min, 3)],
        load: load(),
      };
    } finally {
      await postgres.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
