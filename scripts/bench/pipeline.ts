/** Jobs a second through a whole cell against the bare counting loop, on the same cores at the same hour. */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BareLoops } from './bare-loops.ts';
import { type BenchCell, type Message, TENANT } from './cell.ts';
import { load } from './machine.ts';
import { cpuMs } from './processes.ts';
import { atLeast, ms, ratio, type Goal, type Section } from './section.ts';
import { quantile } from './stats.ts';

const SUBMITTERS = 4;
const POLL_MS = 200;
const WARM_UP = 400;

/** From the first acceptance to the last completion, by the ledger's own times. */
async function throughput(cell: BenchCell, messages: readonly Message[]): Promise<number> {
  const queue = messages.entries();
  await Promise.all(Array.from({ length: SUBMITTERS }, async () => {
    for (const [turn, message] of queue) await cell.submit(message, turn);
  }));
  const ids = messages.map(({ jobId }) => jobId);
  for (;;) {
    const { rows: [row] } = await cell.database.query<{ completed: number; over: number; from: string; until: string }>(
      `select count(*) filter (where state = 'completed')::int as completed, count(*) filter (where due_at is null)::int as over,
       min(accepted_at) as from, max(finished_at) as until from jobs where tenant_id = $1 and job_id = any($2)`, [TENANT, ids]);
    if (row?.over === ids.length) {
      if (row.completed !== ids.length) throw new Error(`${ids.length - row.completed} jobs did not complete`);
      return (1000 * ids.length) / (Number(row.until) - Number(row.from));
    }
    await sleep(POLL_MS);
  }
}

const GROUPS = ['sandboxes', 'counters', 'gateway', 'broker', 'PostgreSQL', 'this process'] as const;
type Group = (typeof GROUPS)[number];

async function cpuByGroup(cell: BenchCell): Promise<Record<Group, number>> {
  const of = async (prefix: string) => {
    const times = await Promise.all(cell.processes.filter((p) => p.name.startsWith(prefix)).map(async (p) => cpuMs(p.pid() ?? -1)));
    return { own: times.reduce((n, t) => n + t.own, 0), below: times.reduce((n, t) => n + t.below, 0) };
  };
  const process_ = process.cpuUsage();
  const [counters, gateway, broker, database] = await Promise.all([of('counter'), of('gateway'), of('broker'), cpuMs(cell.databasePid() ?? -1)]);
  return { sandboxes: counters.below, counters: counters.own, gateway: gateway.own, broker: broker.own, PostgreSQL: database.own + database.below, 'this process': (process_.user + process_.system) / 1000 };
}

/**
 * The most that a cell can reach of N bare loops, if nothing ever waited: a counting thread is one core at most, and all CPU time of all
 * jobs has to find room on the cores that there are. Of the bare loops the same is true.
 * @param count CPU milliseconds of one picture in a bare loop; `job`: of one job, in all processes
 */
export const limit = (cores: number, counters: number, count: number, job: number): number =>
  Math.min(counters / count, cores / job) / Math.min(counters / count, cores / count);

/** Cores on which {@link limit} is `share`, where there are more of them than counters. */
export const coresFor = (share: number, counters: number, count: number, job: number): number => (share * counters * job) / count;

/** Other load on a machine only ever adds to CPU time (caches, sibling threads): the round with the least of it is nearest to what a job costs. */
export function leastOf(rounds: readonly Readonly<Record<Group, number>>[]): { readonly round: Readonly<Record<Group, number>>; readonly job: number } {
  const sums = rounds.map((round) => ({ round, job: GROUPS.reduce((sum, group) => sum + round[group], 0) }));
  return sums.reduce((least, one) => (one.job < least.job ? one : least));
}

export interface PipelineOptions { readonly cell: BenchCell; readonly bare: BareLoops; readonly picture: Uint8Array; readonly rounds: number; readonly secondsEach: number }

export async function pipeline({ cell, bare, picture, rounds, secondsEach }: PipelineOptions): Promise<Section> {
  const goals: Goal[] = [];
  const rows: string[][] = [];
  const cpu: string[][] = [];
  const cores = availableParallelism();
  let spare = 0;
  const counters = cell.processes.filter((p) => p.name.startsWith('counter'));
  // Everybody's code compiled, as in a cell that has run for a while.
  await throughput(cell, await cell.messages(WARM_UP, picture));
  for (let n = counters.length; n >= 1; n--) {
    const rates: { bare: number; cell: number }[] = [];
    const used: Record<Group, number>[] = [];
    const bareCpu: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { perSecond: alone, cpuMs: aloneCpu } = await bare.run(n, secondsEach * 1000);
      bareCpu.push(aloneCpu);
      // As many as the bare loops counted in that time: both sides run equally long.
      const messages = await cell.messages(Math.max(10, Math.round(alone * secondsEach)), picture);
      const before = await cpuByGroup(cell);
      rates.push({ bare: alone, cell: await throughput(cell, messages) });
      const after = await cpuByGroup(cell);
      used.push(Object.fromEntries(GROUPS.map((g) => [g, (after[g] - before[g]) / messages.length])) as Record<Group, number>);
    }
    const middle = (values: number[]) => quantile(values.sort((a, b) => a - b), 0.5);
    const ratios = rates.map((r) => r.cell / r.bare);
    const { round, job } = leastOf(used);
    const count = Math.min(...bareCpu);
    spare = count / 9;
    // The submitter stands for machines of clients: what the cell could do if it were on another one.
    const most = [limit(cores, n, count, job), limit(cores, n, count, job - round['this process'])];
    rows.push([String(n), middle(rates.map((r) => r.bare)).toFixed(1), middle(rates.map((r) => r.cell)).toFixed(1), ratio(middle([...ratios])), ratio(Math.max(...ratios)), ...most.map(ratio), coresFor(0.9, n, count, job).toFixed(1)]);
    cpu.push([`${n} counter${n === 1 ? '' : 's'}`, ms(count), ...GROUPS.map((g) => ms(round[g])), ms(job)]);
    const who = `${n} counter${n === 1 ? '' : 's'}`;
    goals.push(atLeast(`cell / bare loops, ${who}`, middle([...ratios]), 0.9));
    // Apart from what a job costs: whether anything waits that need not.
    goals.push(atLeast(`cell / most that the cores allow, ${who}`, middle([...ratios]) / (most[0] as number), 0.9));
    // The next round has one counter less; it gives back what it holds.
    await counters[n - 1]?.stop();
  }
  return {
    title: 'Pipeline',
    about: [
      'Jobs a second through a cell of real processes against N bare loops of workload.work in N processes, in turn. In the cell\'s figure: the upload of the encrypted message, the store and the ledger with',
      'fsync, leases, the release of each data key by the broker with its stored receipt, decryption, counting in the sandbox, the sealed and signed result, events, logs. The client\'s part (encrypting, verifying) is',
      'not; sending the messages is, and the process that sends them takes its time from the same cores. Both sides share all cores of the machine. The last columns are what the measured CPU time (of the round that took least) leaves room for on a machine that does nothing else, if nothing ever waited: a counting thread takes one core at most,',
      'and N threads on C cores get at most min(N / count, C / job) jobs, where "job" is all CPU time of a job, counting included. With one counter and a core to spare it is 1; with as many counters as cores',
      `it is count / job, and no pipelining changes that: 0.9 would take less than a ninth of counting around a job, ${ms(spare)} ms here, for an upload that waits for the disk twice, a proof with each request,`,
      `a released key with its stored receipt, a sealed and signed result, and all of it in the ledger. So where counters = cores 0.9 is a matter of cores, not of waiting; "cores for 0.9" is how many. Here C is ${cores}.`,
    ],
    head: ['counters', 'bare loops, pictures/s', 'cell, jobs/s', 'ratio, median', 'ratio, best round', 'most that the cores allow', 'if clients were elsewhere', 'cores for 0.9'],
    rows,
    more: { head: ['CPU ms a job', 'bare loop', ...GROUPS, 'job'], rows: cpu },
    goals,
    load: load(),
  };
}
