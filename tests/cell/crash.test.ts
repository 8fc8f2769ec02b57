/**
 * Twenty histories of a real cell: each brings a job to one step, hits one process with kill -9 or with a SIGSTOP longer than a lease, and
 * then everything must settle. Five steps by four processes, each pair once, in an order that a seed decides like everything else here:
 * which fault, how many jobs, how many copies of each are sent at once, whether a second process is hit shortly after.
 *
 * CRASH_SEED=... repeats the choices of a run; what processes do in between stays theirs.
 */
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admin } from '../../scripts/cell/admin.ts';
import { type Counted, resumeJob } from '../../workloads/client/count.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { lookInto, type Look } from './crash/database.ts';
import { aim, type Fault, inflict, VICTIMS, type Victim } from './crash/faults.ts';
import { type Bench, type Job, type Phase, PHASES, reach } from './crash/phases.ts';
import { clientOf, logOf, type TestCell, testCell, type TestClient } from './harness.ts';
import { until } from './processes.ts';

const LEASE_MS = 1_500;
const STOPPED_MS = LEASE_MS + 400;
const SETTLED_MS = 90_000;
const COUNTERS = 2;
const MISSES = 5;

const fault = fc.constantFrom<Fault>('kill', 'kill', 'stop');
const choices = fc.record({
  fault, jobs: fc.integer({ min: 0, max: 2 }), copies: fc.integer({ min: 1, max: 3 }), variant: fc.boolean(), afterMs: fc.integer({ min: 0, max: 30 }),
  second: fc.option(fc.record({ victim: fc.constantFrom(...VICTIMS), afterMs: fc.integer({ min: 0, max: 400 }) }), { freq: 4 }),
});
const pairs = PHASES.flatMap((phase) => VICTIMS.map((victim) => ({ phase, victim })));
const histories = fc.tuple(fc.shuffledSubarray(pairs, { minLength: pairs.length }), fc.array(choices, { minLength: pairs.length, maxLength: pairs.length }))
  .map(([order, details]) => order.map((pair, i) => ({ ...pair, ...(details[i] as (typeof details)[number]) })));

const seed = Number(process.env['CRASH_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const PLANS = fc.sample(histories, { seed, numRuns: 1 })[0] ?? [];

interface Sent extends Job { readonly expected: number; readonly acknowledged: Promise<unknown>[]; counted?: Promise<Counted> }

describe(`${PLANS.length} histories with kill -9 and SIGSTOP, CRASH_SEED=${seed}`, () => {
  let cell: TestCell;
  let client: TestClient;
  let look: Look;
  let prepared: (Job & { expected: number })[];
  const everything: Sent[] = [];
  const hit = new Set<string>();

  beforeAll(async () => {
    cell = await testCell(COUNTERS, { leaseMs: LEASE_MS });
    look = lookInto(cell.databaseUrl);
    // Waiting for a process to come back is what this client does all day: shorter pauses, more patience.
    client = clientOf(cell, { attempts: 100, sleep: (ms) => delay(Math.min(ms, 200)), timeoutMs: 10_000 });
    const manifest = await client.manifest();
    const pictures = (await demoPictures()).filter((p) => p.expected !== undefined && p.file.startsWith('cat-view'));
    prepared = await Promise.all(Array.from({ length: PLANS.length * 4 }, async (_, i) => {
      const { bytes, expected = -1 } = pictures[i % pictures.length] as (typeof pictures)[number];
      return { ...(await client.prepare(bytes, manifest)), expected };
    }));
  });
  afterAll(async () => {
    await look?.close();
    await cell?.close();
  });

  async function runHistory(plan: (typeof PLANS)[number]): Promise<void> {
    const mine: Sent[] = [];
    const next = async (): Promise<Job> => {
      const job = prepared.pop();
      if (job === undefined) throw new Error('no job is left');
      const sent: Sent = { ...job, acknowledged: [] };
      mine.push(sent);
      everything.push(sent);
      return job;
    };
    const bench: Bench = {
      cell, client, look, next,
      send({ jobId, message }) {
        const job = mine.find((j) => j.jobId === jobId) as Sent;
        job.acknowledged.push(...Array.from({ length: plan.copies }, () => client.api.submit(message)));
        // A client that watches through all of it; it verifies the result in the end.
        job.counted = Promise.allSettled(job.acknowledged).then(() => resumeJob({ ...client, jobId }));
        job.counted.catch(() => {}); // awaited below
      },
    };

    await until('every process runs', SETTLED_MS, () => cell.databasePid() !== undefined && cell.processes.every((p) => p.pid() !== undefined));
    let held = await reach(plan.phase, bench, plan.variant);
    for (let i = 0; i < plan.jobs; i++) bench.send(await next());
    await delay(plan.afterMs);
    let pids = await aim(cell, look, plan.victim, plan.fault, held.job.jobId);
    // The step must not be over when the fault comes.
    for (let tries = 1; !(await held.still()); tries++) {
      await held.release();
      if (tries === MISSES) throw new Error(`${plan.phase} was over ${MISSES} times before ${plan.victim} could be hit`);
      held = await reach(plan.phase, bench, plan.variant);
      pids = await aim(cell, look, plan.victim, plan.fault, held.job.jobId);
    }
    hit.add(`${plan.phase} ${plan.victim}`);
    const over = inflict(pids, plan.fault, STOPPED_MS);
    // A stopped database lets nothing go.
    if (plan.victim === 'database') await over;
    await held.release();
    if (plan.second !== null) {
      await delay(plan.second.afterMs);
      void inflict(await aim(cell, look, plan.second.victim, 'kill', held.job.jobId), 'kill', 0);
    }
    await over;
    await until('every job is sent', SETTLED_MS, () => mine.every((job) => job.counted !== undefined));
    for (const job of mine) {
      await until(`job ${job.jobId} settles`, SETTLED_MS, () => Promise.race([(job.counted as Promise<Counted>).then(() => true), delay(20).then(() => false)]), 0);
      const acknowledged = await Promise.all(job.acknowledged);
      expect(acknowledged.map((answer) => (answer as { job_id: string }).job_id)).toEqual(acknowledged.map(() => job.jobId));
      const counted = await (job.counted as Promise<Counted>);
      expect([counted.outcome, counted.counted]).toEqual(['completed', job.expected]);
      expect(counted.checks.length).toBeGreaterThan(5);
    }
  }

  PLANS.forEach((plan, i) => it(`${i + 1}. ${plan.fault} ${plan.victim} during ${plan.phase}${plan.second ? `, then kill ${plan.second.victim}` : ''}`, async () => {
    try {
      await runHistory(plan);
    } catch (error) {
      throw new Error(`CRASH_SEED=${seed}, history ${i + 1}: ${JSON.stringify(plan)}\n${await cell.logs()}`, { cause: error });
    }
  }));

  it('every job has one final state, one result, one usage row; the audit chain holds; each step was hit with each process', async () => {
    const rows = await look.rows<Record<string, unknown>>(`
      select j.job_id, j.state, j.events = (select max(n) from job_events e where e.job_id = j.job_id) and j.events = (select count(*) from job_events e where e.job_id = j.job_id) as "eventsFit",
        (select count(*)::int from results r where r.job_id = j.job_id and r.outcome = j.state and r.sealed is not null) as results,
        (select count(*)::int from usage u where u.job_id = j.job_id) as usage,
        (select count(*)::int from job_events e where e.job_id = j.job_id and e.event in ('completed', 'rejected', 'failed')) as ends,
        (select count(*)::int from audit a where a.kind = 'job-accepted' and a.body::json->>'job_id' = j.job_id) as "auditedAccepted",
        (select count(*)::int from audit a where a.kind in ('job-completed', 'job-rejected', 'job-failed') and a.body::json->>'job_id' = j.job_id) as "auditedEnds"
      from jobs j order by j.job_id`);
    expect(rows).toEqual(everything.map((job) => job.jobId).sort().map((job_id) => ({
      job_id, state: 'completed', eventsFit: true, results: 1, usage: 1, ends: 1, auditedAccepted: 1, auditedEnds: 1,
    })));
    const [total] = await look.rows<{ results: number; usage: number }>('select (select count(*)::int from results) as results, (select count(*)::int from usage) as usage');
    expect(total).toEqual({ results: everything.length, usage: everything.length });

    // The last history's second fault may just have hit the gateway.
    type Status = { audit: { ok: boolean; entries: number }; jobs: Record<string, number> };
    const status = await until('the gateway answers', SETTLED_MS, () => admin<Status>(cell.folder, 'GET', '/status').catch(() => undefined), 50);
    expect(status.audit).toMatchObject({ ok: true });
    expect(status.audit.entries).toBeGreaterThan(3 * everything.length);
    expect(status.jobs).toEqual({ accepted: 0, leased: 0, completed: everything.length, rejected: 0, failed: 0 });
    expect([...hit].sort()).toEqual(pairs.map(({ phase, victim }: { phase: Phase; victim: Victim }) => `${phase} ${victim}`).sort());

    const events = (await Promise.all(Array.from({ length: COUNTERS }, (_, i) => logOf(cell, `counter-${i + 1}`)))).flat().map((line) => line['event']);
    const count = (event: string) => events.filter((e) => e === event).length;
    const [tries] = await look.rows<{ again: number }>('select count(*)::int as again from jobs where attempts > 1');
    console.info(`${everything.length} jobs, ${everything.reduce((n, j) => n + j.acknowledged.length, 0)} submissions, ${tries?.again} leased again; counters: ${count('lease-lost')} leases lost, `
      + `${count('completion-stale')} late and ${count('completion-failed')} unanswered completions; restarts: ${cell.processes.map((p) => `${p.name} ${p.restarts()}`).join(', ')}`);
  });
});
