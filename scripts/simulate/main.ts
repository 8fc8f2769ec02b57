/** `npm run simulate`: as many seeds as wanted, on all processors; a seed that fails is printed, and how to see it again. */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { line } from '../drill/history.ts';
import { note, progress, say } from '../cli/output.ts';
import { type Run, simulate } from './simulate.ts';

const USAGE = `usage: npm run simulate -- [--seeds N] [--seed S] [--json] [--trace] [--history]

  --seeds N   how many (default 2000)
  --seed S    the first (default 1); alone: only this one
  --json      one object on standard output
  --trace     with one seed: everything that happens, as it happens, on standard error
  --history   with one seed: its history, JSON lines, on standard output
exit: 0 nothing found, 1 violations, 2 usage
`;

/** What of a run is worth keeping. */
type Kept = Pick<Run, 'seed' | 'ok' | 'stuck' | 'virtualSeconds' | 'failovers'> & Pick<Run['verdict'], 'counts' | 'superseded' | 'rpo' | 'fencedWrites'> & { readonly violations: Run['verdict']['violations'] };
const kept = ({ seed, ok, stuck, virtualSeconds, failovers, verdict: { counts, superseded, rpo, fencedWrites, violations } }: Run): Kept =>
  ({ seed, ok, stuck, virtualSeconds, failovers, counts, superseded, rpo, fencedWrites, violations: violations.slice(0, 8) });

interface Slice { readonly first: number; readonly seeds: number; readonly step: number }

async function inParallel(first: number, seeds: number, take: (run: Kept) => void): Promise<void> {
  const workers = Math.min(availableParallelism(), Math.ceil(seeds / 50));
  await Promise.all(Array.from({ length: workers }, (_, n) => new Promise<void>((resolve, reject) => {
    const slice: Slice = { first: first + n, seeds: Math.ceil((seeds - n) / workers), step: workers };
    const worker = new Worker(new URL(import.meta.url), { workerData: slice });
    worker.on('message', take);
    worker.on('error', reject);
    worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
  })));
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { seeds: { type: 'string' }, seed: { type: 'string' }, json: { type: 'boolean' }, trace: { type: 'boolean' }, history: { type: 'boolean' }, help: { type: 'boolean' } } });
  const first = values.seed === undefined ? 1 : Number(values.seed);
  const seeds = values.seeds === undefined ? (values.seed === undefined ? 2_000 : 1) : Number(values.seeds);
  const single = values.trace === true || values.history === true;
  if (values.help === true || !Number.isSafeInteger(first) || !Number.isSafeInteger(seeds) || seeds < 1 || (single && seeds > 1)) {
    process.stderr.write(USAGE);
    return values.help === true ? 0 : 2;
  }
  const began = performance.now();
  const sum = { seeds: 0, virtualSeconds: 0, acknowledged: 0, failovers: 0, superseded: 0, unreplicated: 0, fencedWritesRefused: 0 };
  const failing: Kept[] = [];
  const live = progress('simulate');
  const take = (run: Kept): void => {
    sum.seeds += 1;
    sum.virtualSeconds += run.virtualSeconds;
    sum.acknowledged += run.counts.acknowledged;
    sum.failovers += run.failovers;
    sum.superseded += run.superseded;
    sum.unreplicated += run.rpo.jobs;
    sum.fencedWritesRefused += run.fencedWrites.refused;
    if (!run.ok) failing.push(run);
    if (sum.seeds % 100 === 0) live.update(`${sum.seeds} of ${seeds} seeds, ${failing.length} failing`);
  };
  if (single || seeds < 50) {
    for (let seed = first; seed < first + seeds; seed += 1) {
      const run = simulate(seed, undefined, values.trace === true ? note : undefined);
      if (values.history === true) process.stdout.write(run.history.map(line).join(''));
      take(kept(run));
    }
  } else await inParallel(first, seeds, take);
  live.done();

  failing.sort((a, b) => a.seed - b.seed);
  const seconds = (performance.now() - began) / 1000;
  const ok = failing.length === 0;
  if (values.json === true) say(JSON.stringify({ ok, ...sum, seconds, failing }));
  else {
    const out = values.history === true ? note : say;
    for (const { seed, stuck, violations } of failing.slice(0, 10)) {
      out(`seed ${seed}:`);
      if (stuck > 0) out(`  ${stuck} jobs never came to an end, though all was well again`);
      for (const { kind, what, tenant, job, cell } of violations) out(`  ${kind}: ${what} ${[tenant, job, cell].filter((one) => one !== undefined).join(', ')}`);
      out(`  again: npm run simulate -- --seed ${seed} --trace`);
    }
    out(`${sum.seeds} seeds (${first} to ${first + seeds - 1}), ${failing.length} failing: ${sum.acknowledged} jobs acknowledged, ${sum.failovers} failovers, ${sum.superseded} superseded results, ${sum.unreplicated} unreplicated jobs, ${Math.round(sum.virtualSeconds / 3600)} hours in ${seconds.toFixed(1)} s`);
  }
  return ok ? 0 : 1;
}

if (isMainThread) process.exitCode = await main();
else {
  const { first, seeds, step } = workerData as Slice;
  for (let n = 0; n < seeds; n += 1) parentPort?.postMessage(kept(simulate(first + n * step)));
}
