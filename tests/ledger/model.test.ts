/**
 * The ledger against a model: histories of submissions, leases, completions, waiting and lost connections on a real PostgreSQL with an
 * injected clock. Whatever happened, in the end every acknowledged job has one final state, one result, one usage row.
 *
 * A failure prints its seed and path; `MODEL_SEED=... MODEL_PATH=...` repeats it, `MODEL_RUNS=...` runs more histories.
 */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ledger, openLedger } from '../../workloads/ledger/ledger.ts';
import { type Engine, START, startEngine } from './engines.ts';
import { histories, prelude } from './model/commands.ts';
import { LEASE_MS, MAX_ATTEMPTS, type Model, type Real, hold, isFinal, same } from './model/model.ts';
import { type Proxy, startProxy } from './proxy.ts';

const RUNS = Number(process.env['MODEL_RUNS'] ?? 200);

describe('ledger against its model', () => {
  let engine: Engine;
  let rows: <R extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<R[]>;
  let client: pg.Client;
  let proxy: Proxy;
  let ledger: Ledger;
  let witness: Ledger;
  const clock = { at: START };
  const lost = { answers: 0, committed: 0 };
  let count = 0;
  let auditedBefore = 0;

  beforeAll(async () => {
    engine = await startEngine();
    const url = await engine.database();
    client = new pg.Client({ connectionString: url });
    await client.connect();
    rows = async (text, values = []) => (await client.query(text, values)).rows;
    proxy = await startProxy(url);
    const options = { now: () => clock.at, cell: 'cell-a', maxAttempts: MAX_ATTEMPTS };
    witness = await openLedger({ url, ...options, connections: 2 });
    ledger = await openLedger({ url: proxy.url, ...options, connections: 3 });
  });
  afterAll(async () => {
    await ledger?.close();
    await witness?.close();
    await client?.end();
    await proxy?.close();
    await engine?.stop();
  });

  /** A fresh tenant per history; what a failed history left must not reach the next. */
  async function setup(): Promise<{ model: Model; real: Real }> {
    count++;
    await rows(`update jobs set state = 'failed', due_at = null, finished_at = 0 where due_at is not null`);
    auditedBefore = (await witness.counts()).auditEntries;
    clock.at += 3_600_000;
    const tenantId = `t${count}`;
    await witness.addTenant({ id: tenantId, zone: 'eu' });
    return {
      model: { jobs: new Map(), leases: [], now: clock.at },
      real: { ledger, witness, proxy, clock, tenantId, jobIds: Array.from({ length: 4 }, () => randomUUID()), lost },
    };
  }

  /** Counters that work, and nothing that breaks: now everything must come to its end. */
  async function drain({ tenantId }: Real): Promise<void> {
    for (let round = 0; ; round++) {
      hold(round < 3 * MAX_ATTEMPTS, 'jobs never come to an end');
      clock.at += 400_000;
      const leased = await ledger.lease({ max: 10, leaseMs: LEASE_MS, sessionId: 'drain' });
      for (const l of leased) {
        hold(l.tenantId === tenantId, 'a job of another history');
        hold((await ledger.complete({ ...l, outcome: 'completed', result: { enc: 'AAAA', ct: 'DDDD' }, sessionId: 'drain' })).recorded, 'a held job could not be completed');
      }
      if (leased.length === 0 && (await witness.counts()).due === 0) return;
    }
  }

  async function invariants({ jobs }: Model, { tenantId }: Real): Promise<void> {
    const jobRows = await rows<{ job_id: string; state: string; results: number; usage: number; ends: number; starts: number; events: number; last: number; outcome: string; sealed: string | null }>(`
      select j.job_id, j.state, j.events, r.outcome, r.sealed,
        (select count(*)::int from results x where x.tenant_id = j.tenant_id and x.job_id = j.job_id) as results,
        (select count(*)::int from usage x where x.tenant_id = j.tenant_id and x.job_id = j.job_id) as usage,
        (select count(*)::int from job_events x where x.tenant_id = j.tenant_id and x.job_id = j.job_id and event in ('completed', 'rejected', 'failed')) as ends,
        (select count(*)::int from job_events x where x.tenant_id = j.tenant_id and x.job_id = j.job_id and event = 'accepted') as starts,
        (select max(n) from job_events x where x.tenant_id = j.tenant_id and x.job_id = j.job_id) as last
      from jobs j left join results r using (tenant_id, job_id) where j.tenant_id = $1`, [tenantId]);
    const found = new Map(jobRows.map((row) => [row.job_id, row]));
    for (const job of jobs.values()) if (job.acknowledged) hold(found.has(job.jobId), `acknowledged job ${job.jobId} is lost`);
    hold(found.size === jobs.size, 'jobs that nobody sent');
    for (const row of jobRows) {
      hold(['completed', 'rejected', 'failed'].includes(row.state), `${row.job_id} ended as ${row.state}`);
      hold(row.outcome === row.state, 'the result is of another state');
      hold(row.results === 1 && row.usage === 1 && row.ends === 1 && row.starts === 1, `results, usage, ends, starts: ${JSON.stringify(row)}`);
      hold(row.last === row.events, 'events are missing');
      const job = jobs.get(row.job_id);
      hold(job !== undefined, 'a job that nobody sent');
      if (isFinal(job.state)) same(job, await witness.job(tenantId, row.job_id));
      const audited = await rows<{ kind: string }>(`select kind from audit where seq > $2 and body like '%' || $1 || '%' order by seq`, [row.job_id, auditedBefore]);
      hold(audited.map((a) => a.kind).join() === `job-accepted,job-${row.state}`, `audit: ${audited.map((a) => a.kind).join()}`);
    }
  }

  it(`keeps its promises in ${RUNS} histories`, async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        const { model, real } = await setup();
        await fc.asyncModelRun(() => ({ model, real }), [...prelude(), ...history]);
        await drain(real);
        await invariants(model, real);
      }),
      {
        numRuns: RUNS,
        ...(process.env['MODEL_SEED'] === undefined ? {} : { seed: Number(process.env['MODEL_SEED']) }),
        ...(process.env['MODEL_PATH'] === undefined ? {} : { path: process.env['MODEL_PATH'] }),
        interruptAfterTimeLimit: undefined,
      },
    );
    expect(count).toBeGreaterThanOrEqual(Math.min(RUNS, 200));
    expect((await witness.verifyAudit()).ok).toBe(true);
    // The faults did hit: answers were lost, and of some the server had carried out the request.
    expect(lost.answers).toBeGreaterThan(RUNS / 2);
    expect(lost.committed).toBeGreaterThan(RUNS / 8);
  }, 300_000);
});
